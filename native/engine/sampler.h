#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace wkv {

// How a token is drawn. ChatRWKV's order: top-p on the probabilities, then temperature on what is left.
struct Sampling {
  float temperature = 1.0F;  // 0: the most probable token
  float top_p = 0.85F;       // smallest set of tokens whose probabilities reach this sum; ties stay
  // Ids that are never drawn; may be null. At least one id of the vocabulary must be left.
  std::shared_ptr<const std::vector<std::uint32_t>> forbidden = nullptr;
};

// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), keyed by the seed, at
// counter `draw`: a number in [0, 1) with 53 random bits. The same seed and draw give the same number.
double uniform(std::uint64_t seed, std::uint64_t draw);

// The token that `random`, in [0, 1), picks: tokens in ascending order of id, each as wide as its
// probability. Of equals the lowest id is the most probable one. Nothing if a logit that counts is not
// finite.
std::optional<std::uint32_t> sample(std::span<const float> logits, const Sampling& sampling, double random);

}  // namespace wkv
