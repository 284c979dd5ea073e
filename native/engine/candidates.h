#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/sampler.h"

namespace wkv {

// 1 / temperature, kept finite: the most probable tokens stay where they are, and 1e30 times any difference
// between two floats that logits have makes the other's probability nothing.
double inverse(double temperature);

// Whether the step does anything with these options to that many tokens. The temperature never counts.
bool narrows(SamplingStep step, const Sampling& sampling, std::size_t tokens);

// The tokens that may still be drawn, when they are few: what is left of the steps is done on them, in double
// precision.
class Candidates {
 public:
  void clear() { list_.clear(); }
  // In ascending order of tokens; `x` is a logarithm of what is proportional to the token's probability.
  void add(std::uint32_t token, double x) { list_.push_back({token, x, 0}); }

  // `total` is the sum of e^x over all tokens of which these are the most probable; 0 if these are all.
  void apply(SamplingStep step, const Sampling& sampling, double total = 0);

  // The token that `random` in [0, 1) picks.
  std::uint32_t draw(double random);

 private:
  struct Candidate {
    std::uint32_t token;
    double x;
    double weight;  // e^x
  };
  struct Keyed {
    double key;
    double weight;
  };

  double weigh();
  double last_key(double mass);
  template <class Predicate>
  void keep(Predicate stays);
  void top_k(std::uint32_t count);
  void typical(double mass);

  std::vector<Candidate> list_;
  std::vector<Candidate> sorted_;
  std::vector<Keyed> keyed_;
};

}  // namespace wkv
