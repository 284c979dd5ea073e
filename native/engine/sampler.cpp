#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

namespace wkv {

double uniform(std::uint64_t seed, std::uint64_t draw) {
  std::uint32_t counter[4] = {static_cast<std::uint32_t>(draw), static_cast<std::uint32_t>(draw >> 32U), 0,
                              0};
  std::uint32_t key[2] = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)};
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * counter[2];
    const std::uint32_t next[4] = {
        static_cast<std::uint32_t>(b >> 32U) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32U) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    std::copy_n(next, 4, counter);
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  const std::uint64_t bits = (std::uint64_t{counter[0]} << 21U) ^ (std::uint64_t{counter[1]} >> 11U);
  return static_cast<double>(bits) * 0x1p-53;
}

namespace {

// The probability that a token must reach to be in the top-p set. Looks at ever more of the most probable
// tokens, because the set is nearly always small.
double top_p_cutoff(const std::vector<double>& probabilities, double top_p) {
  std::vector<double> sorted = probabilities;
  std::size_t ready = 0;
  double sum = 0;
  for (std::size_t want = std::min<std::size_t>(64, sorted.size());;
       want = std::min(want * 8, sorted.size())) {
    const auto from = sorted.begin() + static_cast<std::ptrdiff_t>(ready);
    std::partial_sort(from, sorted.begin() + static_cast<std::ptrdiff_t>(want), sorted.end(),
                      std::greater<>{});
    for (; ready < want; ++ready) {
      sum += sorted[ready];
      if (sum >= top_p) return sorted[ready];
    }
    if (want == sorted.size()) return 0;
  }
}

}  // namespace

std::optional<std::uint32_t> sample(std::span<const float> logits, const Sampling& sampling, double random) {
  std::vector<double> probabilities(logits.begin(), logits.end());
  constexpr double kNever = -std::numeric_limits<double>::infinity();
  if (sampling.forbidden != nullptr) {
    for (const std::uint32_t id : *sampling.forbidden) probabilities[id] = kNever;
  }
  // A NaN is no maximum, wherever it stands.
  if (std::any_of(probabilities.begin(), probabilities.end(), [](double p) { return std::isnan(p); }))
    return {};
  const auto best = std::max_element(probabilities.begin(), probabilities.end());
  const double highest = *best;
  if (!std::isfinite(highest)) return {};
  if (sampling.temperature == 0.0F) return static_cast<std::uint32_t>(best - probabilities.begin());

  double total = 0;
  for (double& p : probabilities) {
    p = std::exp(p - highest);
    total += p;
  }
  if (!std::isfinite(total)) return {};
  for (double& p : probabilities) p /= total;

  if (sampling.top_p < 1.0F) {
    const double cutoff = top_p_cutoff(probabilities, static_cast<double>(sampling.top_p));
    for (double& p : probabilities) p = p < cutoff ? 0 : p;
  }
  if (sampling.temperature != 1.0F) {
    // p^(1/T), relative to the largest so that a small T does not underflow everything.
    const double exponent = 1.0 / static_cast<double>(sampling.temperature);
    const double largest = *std::max_element(probabilities.begin(), probabilities.end());
    for (double& p : probabilities) p = p == 0 ? 0 : std::pow(p / largest, exponent);
  }
  const double kept = std::accumulate(probabilities.begin(), probabilities.end(), 0.0);
  double left = random * kept;
  std::uint32_t last = 0;
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    if (probabilities[i] == 0) continue;
    last = static_cast<std::uint32_t>(i);
    left -= probabilities[i];
    if (left < 0) return last;
  }
  return last;  // rounding: the sum of the parts fell short of the whole
}

}  // namespace wkv
