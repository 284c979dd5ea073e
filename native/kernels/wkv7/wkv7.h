#pragma once

#include <cstddef>

namespace wkv {

// The recurrence of RWKV-7 for one head over a run of tokens (arXiv 2503.14456, section 4; head size N), a
// delta rule: what the state holds under the direction `kappa` is taken out in part before k v is put in.
//
//   S[j][i] = w[i] S[j][i] - (sum over n of S[j][n] kappa[n]) b[i] + v[j] k[i]
//   y[j]    = sum over i of S[j][i] r[i]
//
// with j the value channel and i the key channel. All vectors but the state are the head's N channels of the
// first token; the next token's lie `stride` floats further. The decay w is given as `forget` = 1 - w (see
// kernels/decay). `kappa` and `b` are what wkv7_keys makes. `state` is S as [value][key], N * N floats,
// updated in place. `y` must not overlap the inputs.
struct Wkv7Arguments {
  const float* r;
  const float* forget;
  const float* k;
  const float* v;
  const float* kappa;
  const float* b;
  float* state;
  float* y;
  std::ptrdiff_t stride;
  int tokens;
  int head_size;
};
using Wkv7 = void (*)(const Wkv7Arguments& arguments);

// The keys of one head and token, [N] each: kappa = k k_k / max(|k k_k|, 1e-12), b = kappa a, and then
// k = k (1 + (a - 1) k_a), in place; products are channel by channel.
struct Wkv7KeysArguments {
  float* k;
  const float* a;
  const float* k_k;
  const float* k_a;
  float* kappa;
  float* b;
  int head_size;
};
using Wkv7Keys = void (*)(const Wkv7KeysArguments& arguments);

// What the current token adds by itself, for one head and token: y = y + (sum over i of r[i] k[i] r_k[i]) v.
struct Wkv7BonusArguments {
  float* y;
  const float* r;
  const float* k;
  const float* v;
  const float* r_k;
  int head_size;
};
using Wkv7Bonus = void (*)(const Wkv7BonusArguments& arguments);

namespace reference {
void wkv7(const Wkv7Arguments& arguments);
void wkv7_keys(const Wkv7KeysArguments& arguments);
void wkv7_bonus(const Wkv7BonusArguments& arguments);
}  // namespace reference

}  // namespace wkv
