#pragma once

#include "kernels/cuda/segment.h"
#include "kernels/layer_norm/cuda.h"

namespace wkv::cuda {

constexpr int kMostMixes = 4;

// The way from the residual stream to the inputs of a layer's matrices, in one launch: layer norm, token
// shift with each mix, quantization. The session's state has the norm of its last token; it is read for the
// first token of a segment, and replaced by that of the segment's last.
struct ShiftQuantizeArguments {
  struct Mix {
    const float* mix;           // [channels]
    const float* input_scales;  // [channels], or null: all 1
    QuantizedTokens out;
  };
  const float* x;  // [tokens][channels]
  const Segment* segments;
  const int* segment_of;        // of each token
  std::ptrdiff_t state_offset;  // of the norm in a session's state
  Norm norm;
  Mix mixes[kMostMixes];
  int count;  // of mixes
  int tokens;
  int channels;
};
void shift_quantize(const ShiftQuantizeArguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
