#pragma once

// What RWKV-5 and RWKV-6 do with receptance, key, value and gate: y = GroupNorm(WKV) * silu(g).

#include <vector>

#include "engine/step.h"

namespace wkv {

struct Wkv5Mixing {
  const Activation& r;
  const Activation& k;
  const Activation& v;
  const Activation* g;  // null: no gate
  const float* forget;  // of the step's first token; see kernels/wkv5
  std::ptrdiff_t forget_stride;
  const std::vector<float>& bonus;
  const NormWeights& ln_x;
  float group_norm_epsilon;
  Activation& y;
};

// Head by head: a head's state stays in the cache over all tokens.
void mix_wkv5(Step& step, std::size_t layer, const Wkv5Mixing& mixing);

// The state that sessions begin with: zeros but for the recurrences of layers where it was tuned
// ("time_state", [heads][head size][head size]; `tuned` is empty for the others). Files have it as
// [head][value][key], which is transposed where the engine keeps it the other way round.
void initialize_state(const ModelInfo& info, const std::vector<std::vector<float>>& tuned, bool transposed,
                      float* state);

}  // namespace wkv
