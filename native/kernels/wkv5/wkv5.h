#pragma once

#include <cstddef>

namespace wkv {

// The recurrence of RWKV-5 and RWKV-6 for one head over a run of tokens (arXiv 2404.05892, sections 3 and 4;
// head size N):
//
//   y[j]    = sum over i of r[i] * (S[i][j] + u[i] * k[i] * v[j])
//   S[i][j] = w[i] * S[i][j] + k[i] * v[j]
//
// with i the key channel and j the value channel. `r`, `k`, `v` and `y` point at the head's N channels of the
// first token; the next token's lie `stride` floats further. The decay w = exp(-exp(time_decay)), [N], is
// given as `forget` = 1 - w: where w is close to 1 a float of w would be off by up to 3e-8, always in the
// same direction, which a thousand tokens make 3e-5. It lies `forget_stride` floats further for the next
// token: 0 in RWKV-5, whose decay is a weight. `u` is the bonus time_faaaa, [N]; `state` is S as
// [key][value], N * N floats, updated in place. `y` must not overlap the inputs.
//
// The key channels are summed in kWkv5Runs runs of ceil(N / 4), so that a GPU has four threads for a value
// channel; the last run may be shorter, or empty. Every instruction set, and GPUs, give the bits of
//
//   q[p]  = fma(r[i], S[i][j], q[p]) from 0 over the run's i, ascending
//   bonus = sum of r[i] * u[i] * k[i]: sixteen lanes of fma(r[i] * u[i], k[i], ...), then as a tree
//   y[j]  = fma(v[j], bonus, (q[0] + q[1]) + (q[2] + q[3]))
//   S[i][j] = fma(k[i], v[j], fma(-forget[i], S[i][j], S[i][j]))
constexpr int kWkv5Runs = 4;
struct Wkv5Arguments {
  const float* r;
  const float* k;
  const float* v;
  const float* forget;
  const float* u;
  float* state;
  float* y;
  std::ptrdiff_t stride;
  std::ptrdiff_t forget_stride;
  int tokens;
  int head_size;
};
using Wkv5 = void (*)(const Wkv5Arguments& arguments);

namespace reference {
void wkv5(const Wkv5Arguments& arguments);
}

}  // namespace wkv
