#pragma once

#include "kernels/layer_norm/cuda.h"

namespace wkv::cuda {

// From the output of WKV-5's recurrence to the input of the output matrix: the codes of (group norm of y) * g
// * sigmoid(g), times the input scales, with the bits of the CPU's kernels one after another.
struct GatedNormArguments {
  const float* y;  // [tokens][out.columns], whole heads
  float* g;        // the same; may be overwritten
  Norm norm;       // [out.columns]
  float epsilon;
  const float* input_scales;  // [out.columns], or null: all 1
  QuantizedTokens out;
  int tokens;
  int head_size;  // up to 1024
};
void gated_norm(const GatedNormArguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
