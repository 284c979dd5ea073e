#pragma once

// What tests of the sampler share: both of its forms, and logits.

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "engine/sampler.h"

namespace wkv::test {

using Logits = std::vector<float>;
using Ids = std::vector<std::uint32_t>;
using Sample = std::optional<Drawn> (*)(std::span<const float>, const Sampling&, const TokenCounts&, double);

// Both forms of the sampler do what is checked by hand.
template <class Body>
void for_both(Body body) {
  SUBCASE("the naive form") { body(Sample{reference::sample}); }
  SUBCASE("the fast form") { body(Sample{sample}); }
}

inline std::uint32_t token(Sample sample, const Logits& logits, const Sampling& sampling, double random,
                           const TokenCounts& counts = {}) {
  return sample(logits, sampling, counts, random).value().token;
}

// Nothing but what a test is about: every token, as probable as it is.
inline Sampling plain() {
  Sampling sampling;
  sampling.top_p = 1;
  return sampling;
}

// One of them, at random.
template <class Value>
Value one_of(std::mt19937& random, std::initializer_list<Value> values) {
  return values.begin()[random() % values.size()];
}

// Logits of these probabilities.
inline Logits logs(std::initializer_list<double> probabilities) {
  Logits logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

inline TokenSet set_of(Ids ids) { return std::make_shared<const Ids>(std::move(ids)); }

// A mask with these elements.
inline std::shared_ptr<const Ids> mask_of(Ids bits) { return std::make_shared<const Ids>(std::move(bits)); }

inline std::shared_ptr<const std::vector<TokenBias>> bias_of(std::vector<TokenBias> bias) {
  return std::make_shared<const std::vector<TokenBias>>(std::move(bias));
}

inline Logits random_logits(std::mt19937& random, std::size_t size, float deviation, bool ties) {
  std::normal_distribution<float> normal(0, deviation);
  Logits logits(size);
  for (float& logit : logits) logit = ties ? std::round(normal(random)) : normal(random);
  return logits;
}

}  // namespace wkv::test
