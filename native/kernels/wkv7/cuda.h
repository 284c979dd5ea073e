#pragma once

#include <cstddef>

#include "kernels/cuda/arch.cuh"
#include "kernels/cuda/segment.h"

namespace wkv::cuda {

// For every token and head: kappa, b and k as wkv7.h has them of the keys, and what its bonus multiplies the
// values with, of the new k; with the bits of the CPU's kernels.
struct Wkv7KeysArguments {
  const float* r;  // [tokens][heads][head_size], as are k, a, kappa and b
  float* k;        // read and replaced
  const float* a;
  const float* k_k;  // [heads][head_size], as are k_a and r_k
  const float* k_a;
  const float* r_k;
  float* kappa;
  float* b;
  float* bonus;  // [tokens][heads]: sum of r k r_k
  int tokens;
  int heads;
  int head_size;
};
void wkv7_keys(const Wkv7KeysArguments& arguments, cudaStream_t stream);

// The recurrence of RWKV-7 for every head of every segment, with the bits of the CPU's kernel (wkv7.h). The
// state is f32, [head][value][key].
struct Wkv7Arguments {
  const float* r;  // [tokens][heads][head_size], as are all to y; where head_size is 64, the inputs begin at
                   // 16 bytes
  const float* forget;
  const float* k;
  const float* v;
  const float* kappa;
  const float* b;
  float* y;
  const Segment* segments;
  std::ptrdiff_t state_offset;  // of the layer's recurrence in a session's state
  int count;                    // of segments
  int tokens;                   // of all segments
  int heads;
  int head_size;  // up to 1024
};
void wkv7(const Wkv7Arguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
