#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/token_counts.h"

namespace wkv {

// What narrows or bends the distribution, each on what the one before it left, normalized again.
enum class SamplingStep : std::uint8_t {
  kTopP,         // the most probable tokens whose probabilities reach top_p together; ties with the last stay
  kTopK,         // the top_k most probable tokens; of equals the lower ids
  kMinP,         // tokens at least min_p times as probable as the most probable one
  kTypicalP,     // the tokens whose -log p is nearest to the entropy, until they reach typical_p together;
                 // ties with the last stay (Meister et al., "Locally typical sampling", 2022)
  kTemperature,  // p^(1/temperature)
};

// Ids in ascending order, each once; null for none.
using TokenSet = std::shared_ptr<const std::vector<std::uint32_t>>;

struct TokenBias {
  std::uint32_t token;
  float bias;
};

// How a token is drawn. The defaults are ChatRWKV's.
struct Sampling {
  double temperature = 1;  // 0: the most probable token, of equals the lowest id
  double top_p = 0.85;
  std::uint32_t top_k = 0;  // 0: all
  double min_p = 0;
  double typical_p = 1;
  std::array<SamplingStep, 5> order = {SamplingStep::kTopP, SamplingStep::kTopK, SamplingStep::kMinP,
                                       SamplingStep::kTypicalP, SamplingStep::kTemperature};
  // A counted token's logit is lowered by presence_penalty + count * frequency_penalty.
  double presence_penalty = 0.2;
  double frequency_penalty = 0.2;
  double penalty_decay = 0.996;
  TokenSet exempt = nullptr;     // not counted; see TokenCounts
  TokenSet forbidden = nullptr;  // never drawn
  // What else may not be drawn: token t unless bit t % 32 of element t / 32 is set; null for nothing.
  std::shared_ptr<const std::vector<std::uint32_t>> mask = nullptr;
  // Added to logits, -infinity forbids; ascending and each token once; null for none.
  std::shared_ptr<const std::vector<TokenBias>> bias = nullptr;
  // How many of the most probable tokens to report beside the one that was drawn; 0 reports nothing.
  std::uint32_t logprobs = 0;

  bool is_exempt(std::uint32_t token) const;
  bool is_masked(std::size_t token) const;
};

struct TokenLogprob {
  std::uint32_t token;
  double logprob;  // natural logarithm of the probability that the model gives, before any of Sampling
};

struct Drawn {
  std::uint32_t token = 0;
  double logprob = 0;             // as above; only if Sampling::logprobs is not 0
  std::vector<TokenLogprob> top;  // the most probable first, of equals the lower id
};

// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), keyed by the seed, at
// counter `draw`: a number in [0, 1) with 53 random bits. The same seed and draw give the same number.
double uniform(std::uint64_t seed, std::uint64_t draw);

// The token that `random`, in [0, 1), picks: tokens in ascending order of id, each as wide as its
// probability. Nothing if a logit is not finite, or no token is left that may be drawn. Ids in `sampling` and
// `counts` that are not in `logits` mean nothing. Throws std::bad_alloc.
std::optional<Drawn> sample(std::span<const float> logits, const Sampling& sampling,
                            const TokenCounts& counts, double random);

namespace reference {
// The same in the plainest form.
std::optional<Drawn> sample(std::span<const float> logits, const Sampling& sampling,
                            const TokenCounts& counts, double random);
}  // namespace reference

}  // namespace wkv
