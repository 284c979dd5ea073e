#pragma once

// What the kernels of token shifts have in common.

#include "kernels/token_shift/cuda.h"

namespace wkv::cuda {

WKV_DEVICE float mixed(float one, float other, float share_of_one) {
  return fused(one, share_of_one, other * (1.0F - share_of_one));
}
WKV_DEVICE float mixed(float now, float before, float share, bool share_of_before) {
  return share_of_before ? mixed(before, now, share) : mixed(now, before, share);
}

WKV_DEVICE const float* row_of(const ShiftQuantizeArguments& a, int token) {
  return a.x + static_cast<std::ptrdiff_t>(token) * a.channels;
}

// Prompts; cuda_runs.cu.
bool suits_runs(const ShiftQuantizeArguments& arguments);
void shift_quantize_runs(const ShiftQuantizeArguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
