#pragma once

#include <cstddef>

namespace wkv {

// The recurrence of RWKV-4 (arXiv 2305.13048, section 3 and appendix C), channel by channel over a run of
// tokens: an average of the values so far, weighted by e^key and by how long ago they were, then gated.
//
//   q  = max(pp, u + k)
//   y  = sigmoid(r) * (e^(pp - q) aa + e^(u + k - q) v) / (e^(pp - q) bb + e^(u + k - q))
//   q' = max(pp + w, k)
//   aa = e^(pp + w - q') aa + e^(k - q') v;   bb = e^(pp + w - q') bb + e^(k - q');   pp = q'
//
// `r`, `k`, `v` and `y` point at the first of `size` channels of the first token; the next token's lie
// `stride` floats further. `w` = -exp(time_decay) and `u` = time_first, [size]. `aa`, `bb` and `pp`, [size]
// each, are the state, updated in place; before the first token they are 0, 0 and -1e30. `y` must not overlap
// the inputs.
struct Wkv4Arguments {
  const float* r;
  const float* k;
  const float* v;
  const float* w;
  const float* u;
  float* aa;
  float* bb;
  float* pp;
  float* y;
  std::ptrdiff_t stride;
  int tokens;
  int size;
};
using Wkv4 = void (*)(const Wkv4Arguments& arguments);

namespace reference {
void wkv4(const Wkv4Arguments& arguments);
}

}  // namespace wkv
