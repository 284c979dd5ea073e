#pragma once

#include "kernels/cuda/arch.cuh"
#include "kernels/cuda/segment.h"

namespace wkv::cuda {

// The recurrence of RWKV-4 for every channel of every segment, with the bits of the CPU's kernels (wkv4.h).
struct Wkv4Arguments {
  const float* r;  // [tokens][channels], as are k, v and y
  const float* k;
  const float* v;
  float* y;
  const float* w;  // [channels]
  const float* u;  // [channels]
  const Segment* segments;
  std::ptrdiff_t state_offset;  // of aa in a session's state; bb and pp follow, [channels] each
  int count;                    // of segments
  int tokens;                   // of all segments
  int channels;
};
void wkv4(const Wkv4Arguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
