#pragma once

#include "kernels/cuda/segment.h"
#include "kernels/layer_norm/cuda.h"

namespace wkv::cuda {

constexpr int kMostHeadSize = 1024;

// The recurrence of RWKV-5 (wkv5.h), the group norm of each head and the gate, for every head of every
// segment: y = (group norm of the recurrence's output) * g * sigmoid(g). The state is f32,
// [head][key][value]. Sums over the key channels are in the order of the CPU's kernels.
struct Wkv5Arguments {
  const float* r;  // [tokens][heads][head_size], as are k, v, g and y
  const float* k;
  const float* v;
  const float* g;
  float* y;
  const float* forget;  // [heads][head_size]
  const float* u;
  Norm norm;
  float epsilon;
  const Segment* segments;
  std::ptrdiff_t state_offset;  // of the layer's recurrence in a session's state
  int count;                    // of segments
  int heads;
  int head_size;
};
void wkv5(const Wkv5Arguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
