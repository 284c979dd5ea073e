#pragma once

#include "kernels/layer_norm/cuda.h"

namespace wkv::cuda {

enum class Gate : int { kNone, kSilu, kPlain };

// From the output of a recurrence to the input of the output matrix: the codes of ((group norm of y) + bonus
// v) times the gate, times the input scales, with the bits of the CPU's kernels one after another. The gate
// is g * sigmoid(g) or g itself, or there is none.
struct GatedNormArguments {
  const float* y;  // [tokens][out.columns], whole heads
  float* g;        // the same; may be overwritten, also where there is no gate
  Gate gate = Gate::kSilu;
  const float* v = nullptr;      // [tokens][out.columns]
  const float* bonus = nullptr;  // [tokens][heads], or null: none, and then no v is needed
  Norm norm;                     // [out.columns]
  float epsilon;
  const float* input_scales;  // [out.columns], or null: all 1
  QuantizedTokens out;
  int tokens;
  int head_size;  // up to 1024
};
void gated_norm(const GatedNormArguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
