#pragma once

#include "kernels/cuda/segment.h"
#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

// The recurrence of RWKV-5 and 6 for every head of every segment, with the bits of the CPU's kernels
// (wkv5.h). The state is f32, [head][key][value].
struct Wkv5Arguments {
  // [tokens][heads][head_size], as are k, v and y; where head_size is 64 they begin at 16 bytes.
  const float* r;
  const float* k;
  const float* v;
  float* y;
  const float* forget;               // [heads][head_size]; in RWKV-6 those of each token, as r, k and v
  std::ptrdiff_t forget_stride = 0;  // in floats, to the next token's: 0, or heads * head_size
  const float* u;                    // [heads][head_size]
  const Segment* segments;
  std::ptrdiff_t state_offset;  // of the layer's recurrence in a session's state
  int count;                    // of segments
  int tokens;                   // of all segments
  int heads;
  int head_size;
};
void wkv5(const Wkv5Arguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
