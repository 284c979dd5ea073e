// The fast forms of all kernels and their table, for the instruction set that the including file chose.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/compiler.h"
#include "kernels/kernel_table.h"
#include "kernels/simd/f32x16.h"

// The order matters: later forms use earlier ones.
#include "kernels/activations/exp.inl.h"
#include "kernels/activations/activations.inl.h"
#include "kernels/decay/decay.inl.h"
#include "kernels/gemm/gemm.inl.h"
#include "kernels/layer_norm/layer_norm.inl.h"
#include "kernels/peak/peak_f32.inl.h"
#include "kernels/quantize/quantize.inl.h"
#include "kernels/quantize/quantize_int4.inl.h"
#include "kernels/sampling/sampling.inl.h"
#include "kernels/token_shift/token_shift.inl.h"
#include "kernels/wkv4/wkv4.inl.h"
#include "kernels/wkv5/wkv5.inl.h"
#include "kernels/wkv7/wkv7.inl.h"

namespace wkv::WKV_ISA_NAMESPACE {

inline KernelTable make_kernel_table(const char* name, QuantizedKernels quantized) {
  return {
      .name = name,
      .layer_norm = layer_norm,
      .token_shift = token_shift,
      .wkv4 = wkv4,
      .wkv5 = wkv5,
      .wkv7 = wkv7,
      .wkv7_keys = wkv7_keys,
      .wkv7_bonus = wkv7_bonus,
      .gemm_f32 = gemm<WeightF32>,
      .gemm_f16 = gemm<WeightF16>,
      .gemm_bf16 = gemm<WeightBf16>,
      .quantized = quantized,
      .quantize_activations = quantize_activations,
      .quantize_weights = quantize_weights,
      .quantize_int4 = quantize_int4,
      .relu_squared = relu_squared,
      .sigmoid = sigmoid_all,
      .tanh = tanh_all,
      .forget_v6 = forget_v6,
      .forget_v7 = forget_v7,
      .multiply_silu = multiply_silu,
      .add = add_to,
      .multiply = multiply_by,
      .add_gated = add_gated,
      .move_towards = move_towards,
      .log_sum_exp = log_sum_exp,
      .copy_finite = copy_finite,
      .maxima = maxima,
      .weigh = weigh,
      .sum_at_least = sum_at_least,
      .collect = collect,
      .add_to_buckets = add_to_buckets,
      .peak_f32 = peak_f32,
  };
}

}  // namespace wkv::WKV_ISA_NAMESPACE
