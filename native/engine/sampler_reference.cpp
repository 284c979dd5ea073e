// The naive form of the sampler: every step in double precision over all tokens.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

#include "engine/sampler.h"

namespace wkv::reference {

namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

// Log-weights to probabilities. Never is 0.
std::vector<double> normalized(const std::vector<double>& x) {
  const double highest = *std::max_element(x.begin(), x.end());
  std::vector<double> p(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) p[i] = std::exp(x[i] - highest);
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= total;
  return p;
}

// The largest value of the fewest whose probabilities reach `mass`, taken in ascending order of `key`.
double last_key(const std::vector<double>& key, const std::vector<double>& p, double mass) {
  std::vector<std::size_t> order(key.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key[a] < key[b]; });
  double sum = 0;
  for (const std::size_t i : order) {
    sum += p[i];
    if (sum >= mass) return key[i];
  }
  return std::numeric_limits<double>::infinity();
}

void apply(SamplingStep step, const Sampling& sampling, std::vector<double>& x) {
  const std::vector<double> p = normalized(x);
  std::vector<double> key(x.size(), 0);
  double last = 0;
  switch (step) {
    case SamplingStep::kTopP:
      if (sampling.top_p >= 1) return;
      std::transform(x.begin(), x.end(), key.begin(), [](double value) { return -value; });
      last = last_key(key, p, sampling.top_p);
      break;
    case SamplingStep::kTopK: {
      if (sampling.top_k == 0 || sampling.top_k >= x.size()) return;
      std::vector<std::size_t> order(x.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return x[a] > x[b]; });
      for (std::size_t rank = sampling.top_k; rank < order.size(); ++rank) key[order[rank]] = 1;
      break;
    }
    case SamplingStep::kMinP: {
      if (sampling.min_p <= 0) return;
      const double highest = *std::max_element(x.begin(), x.end());
      std::transform(x.begin(), x.end(), key.begin(), [&](double value) { return highest - value; });
      last = -std::log(sampling.min_p);
      break;
    }
    case SamplingStep::kTypicalP: {
      if (sampling.typical_p >= 1) return;
      double entropy = 0;
      for (const double value : p) entropy -= value > 0 ? value * std::log(value) : 0;
      std::transform(p.begin(), p.end(), key.begin(),
                     [&](double value) { return std::fabs(-std::log(value) - entropy); });
      last = last_key(key, p, sampling.typical_p);
      break;
    }
    case SamplingStep::kTemperature: {
      // Of differences to the highest: a tiny temperature makes infinities of all others then, and no NaN.
      const double highest = *std::max_element(x.begin(), x.end());
      for (double& value : x) value = (value - highest) / sampling.temperature;
      return;
    }
  }
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = key[i] <= last ? x[i] : kNever;
}

void report(std::span<const float> logits, const Sampling& sampling, Drawn& drawn) {
  const std::vector<double> p = normalized({logits.begin(), logits.end()});
  std::vector<std::uint32_t> order(p.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return logits[a] > logits[b]; });
  order.resize(std::min<std::size_t>(order.size(), sampling.logprobs));
  drawn.logprob = std::log(p[drawn.token]);
  for (const std::uint32_t token : order) drawn.top.push_back({token, std::log(p[token])});
}

}  // namespace

std::optional<Drawn> sample(std::span<const float> logits, const Sampling& sampling,
                            const TokenCounts& counts, double random) {
  if (logits.empty()) return {};
  if (!std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); })) return {};
  // Penalties and bias in double, then a float again: what the logits are.
  std::vector<double> x(logits.begin(), logits.end());
  for (const TokenCounts::Entry& entry : counts.entries()) {
    if (entry.token < x.size())
      x[entry.token] -= sampling.presence_penalty + entry.count * sampling.frequency_penalty;
  }
  if (sampling.bias != nullptr) {
    for (const TokenBias& bias : *sampling.bias) {
      if (bias.token < x.size()) x[bias.token] += static_cast<double>(bias.bias);
    }
  }
  if (sampling.forbidden != nullptr) {
    for (const std::uint32_t id : *sampling.forbidden) {
      if (id < x.size()) x[id] = kNever;
    }
  }
  for (std::size_t id = 0; id < x.size(); ++id) {
    if (sampling.is_masked(id)) x[id] = kNever;
  }
  for (double& value : x) value = static_cast<double>(static_cast<float>(value));
  if (!std::all_of(x.begin(), x.end(), [](double value) { return value < -kNever; })) return {};

  const auto best = std::max_element(x.begin(), x.end());
  if (*best == kNever) return {};
  Drawn drawn{.token = static_cast<std::uint32_t>(best - x.begin()), .logprob = 0, .top = {}};
  if (sampling.temperature > 0) {
    for (const SamplingStep step : sampling.order) apply(step, sampling, x);
    const std::vector<double> p = normalized(x);
    double left = random;
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (p[i] == 0) continue;
      drawn.token = static_cast<std::uint32_t>(i);  // the last, if rounding leaves the sum short of the whole
      left -= p[i];
      if (left < 0) break;
    }
  }
  if (sampling.logprobs != 0) report(logits, sampling, drawn);
  return drawn;
}

}  // namespace wkv::reference
