#pragma once

// Draws on the simulated GPU, as the host's sampler is asked for them.

#include <cmath>
#include <iomanip>
#include <limits>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "kernels/sampling/cuda.h"
#include "test/cuda/on_device.h"
#include "test/support/numbers.h"
#include "test/support/sampling.h"

namespace wkv::test {

struct DrawCase {
  Floats logits;
  Sampling sampling;
  TokenCounts counts;
  double random = 0.5;
};

struct DrawnOnDevice {
  std::vector<std::int32_t> tokens;
  std::vector<Floats> kept;
};

// All cases, which have vocabularies of one size, in one launch.
inline DrawnOnDevice draw_on_device(const std::vector<DrawCase>& cases) {
  const std::size_t vocabulary = cases.front().logits.size();
  Floats logits;
  std::vector<cuda::LogitEdit> edits;
  std::vector<std::uint32_t> forbidden;
  std::vector<cuda::DrawRow> rows;
  for (const DrawCase& each : cases) {
    logits.insert(logits.end(), each.logits.begin(), each.logits.end());
    const Sampling& sampling = each.sampling;
    cuda::DrawRow row{};
    std::vector<cuda::LogitEdit> own;
    const auto edit = [&](std::uint32_t token) -> cuda::LogitEdit& {
      for (cuda::LogitEdit& other : own) {
        if (other.token == token) return other;
      }
      own.push_back({token, 0, 0});
      return own.back();
    };
    for (const TokenCounts::Entry& entry : each.counts.entries()) {
      if (entry.token >= vocabulary) continue;
      edit(entry.token).penalty = sampling.presence_penalty + entry.count * sampling.frequency_penalty;
    }
    if (sampling.bias != nullptr) {
      for (const TokenBias& bias : *sampling.bias) {
        if (bias.token < vocabulary) edit(bias.token).bias = bias.bias;
      }
    }
    edits.insert(edits.end(), own.begin(), own.end());
    row.edit_count = static_cast<int>(own.size());
    if (sampling.forbidden != nullptr) {
      for (const std::uint32_t token : *sampling.forbidden) {
        if (token >= vocabulary) continue;
        forbidden.push_back(token);
        ++row.forbidden_count;
      }
    }
    row.random = each.random;
    row.top_p = sampling.top_p;
    row.top_k = sampling.top_k;
    row.min_log = sampling.min_p > 0 ? std::log(sampling.min_p) : -std::numeric_limits<double>::infinity();
    row.inverse = sampling.temperature > 0 ? std::min(1 / sampling.temperature, 1e30) : 0;
    rows.push_back(row);
  }
  OnDevice<float> logits_there(logits);
  OnDevice<float> kept(logits.size());
  OnDevice<cuda::LogitEdit> edits_there(edits);
  OnDevice<std::uint32_t> forbidden_there(forbidden);
  std::size_t edit = 0;
  std::size_t banned = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].kept = kept.data() + i * vocabulary;
    rows[i].edits = edits_there.data() + edit;
    rows[i].forbidden = forbidden_there.data() + banned;
    edit += static_cast<std::size_t>(rows[i].edit_count);
    banned += static_cast<std::size_t>(rows[i].forbidden_count);
  }
  OnDevice<cuda::DrawRow> rows_there(rows);
  OnDevice<std::int32_t> tokens(rows.size());
  cuda::draw({logits_there.data(), rows_there.data(), tokens.data(), static_cast<int>(rows.size()),
              static_cast<int>(vocabulary)},
             nullptr);
  DrawnOnDevice result{tokens.values(), {}};
  const Floats all = kept.values();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(i * vocabulary);
    result.kept.emplace_back(first, first + static_cast<std::ptrdiff_t>(vocabulary));
  }
  return result;
}

inline std::int32_t token_of(const std::optional<Drawn>& drawn) {
  return drawn ? static_cast<std::int32_t>(drawn->token) : -1;
}

// "" if the GPU draws the host's token in each case, that of both its forms, else the first case where it
// does not.
inline std::string difference_to_host(const std::vector<DrawCase>& cases) {
  const std::vector<std::int32_t> tokens = draw_on_device(cases).tokens;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const DrawCase& each = cases[i];
    const std::int32_t fast = token_of(sample(each.logits, each.sampling, each.counts, each.random));
    std::int32_t expected = fast;
    // The fast form's weights are in single precision where more than 4,096 tokens remain, and so is their
    // sum: that moves what only just remains or not.
    if (tokens[i] == fast && each.logits.size() <= 4096 && each.random < 0.999999 &&
        (each.sampling.top_p >= 1 || each.sampling.top_p < 0.999)) {
      expected = token_of(reference::sample(each.logits, each.sampling, each.counts, each.random));
    }
    if (tokens[i] == expected) continue;
    const auto text = [](double number) {
      std::ostringstream stream;
      stream << std::setprecision(17) << number;
      return stream.str();
    };
    return "case " + std::to_string(i) + ": " + std::to_string(tokens[i]) + ", expected " +
           std::to_string(expected) + ", at temperature " + text(each.sampling.temperature) + ", top_p " +
           text(each.sampling.top_p) + ", top_k " + std::to_string(each.sampling.top_k) + ", min_p " +
           text(each.sampling.min_p) + ", random number " + text(each.random);
  }
  return "";
}

// Everything that the kernel covers, at random.
inline DrawCase random_case(std::mt19937& random, std::size_t vocabulary) {
  DrawCase result;
  const float deviation = one_of(random, {0.0F, 0.01F, 1.0F, 2.0F, 4.0F, 12.0F});
  const bool ties = random() % 3 == 0;
  std::normal_distribution<float> normal(0, 1);
  for (std::size_t i = 0; i < vocabulary; ++i) {
    const float logit = deviation * normal(random);
    result.logits.push_back(ties ? std::round(logit) : logit);
  }
  Sampling& sampling = result.sampling;
  if (random() % 4 != 0) {
    sampling.temperature = one_of(random, {1.0, 1.0, 0.0, 0.3, 0.7, 2.5, 50.0, 1e-30});
    sampling.top_p = one_of(random, {0.85, 0.0, 0.3, 0.99, 0.9999999, 1.0});
    sampling.top_k = one_of<std::uint32_t>(random, {0, 0, 1, 4, 40, 300, ~0U});
    sampling.min_p = one_of(random, {0.0, 0.0, 1e-6, 0.02, 0.3, 1.0});
  }
  std::vector<TokenCounts::Entry> counts;
  for (std::size_t id = random() % 3; id < vocabulary + 5; id += 1 + random() % (vocabulary / 8 + 5)) {
    counts.push_back({static_cast<std::uint32_t>(id), static_cast<double>(random() % 1000) / 250});
  }
  if (random() % 2 == 0) result.counts = TokenCounts::from(std::move(counts));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (random() % 3 == 0) {
    sampling.bias = std::make_shared<const std::vector<TokenBias>>(
        std::vector<TokenBias>{{0, 1.5F}, {1, -kInfinity}, {14, -3}, {16, 0.25F}, {1000000, 9}});
  }
  if (random() % 3 == 0) {
    sampling.forbidden =
        std::make_shared<const std::vector<std::uint32_t>>(std::vector<std::uint32_t>{2, 3, 15, 299, 70000});
  }
  // Rarely something that makes drawing impossible.
  if (random() % 12 == 0) {
    result.logits[random() % vocabulary] =
        one_of(random, {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(),
                        -std::numeric_limits<float>::quiet_NaN()});
  }
  result.random = random() % 10 == 0 ? one_of(random, {0.0, 0x1.fffffffffffffp-1}) : uniform(5, random());
  return result;
}

}  // namespace wkv::test
