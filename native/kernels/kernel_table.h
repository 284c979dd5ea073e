#pragma once

// The kernels of one instruction set, as plain functions over pointers. Each is described in its folder's
// header; wkv::reference holds a naive form of each with the same signature.

#include "kernels/activations/activations.h"
#include "kernels/decay/decay.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm_int4/gemm_int4.h"
#include "kernels/gemm_int8/gemm_int8.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/peak/peak.h"
#include "kernels/quantize/quantize.h"
#include "kernels/sampling/sampling.h"
#include "kernels/token_shift/token_shift.h"
#include "kernels/wkv4/wkv4.h"
#include "kernels/wkv5/wkv5.h"
#include "kernels/wkv7/wkv7.h"

namespace wkv {

// Instruction sets with the same floats may differ in their dot products of bytes.
struct QuantizedKernels {
  GemmInt8 gemm_int8;
  GemmInt4 gemm_int4;
  // The most tokens of the tiles in which they take activations.
  int int8_tile_tokens;
  int int4_tile_tokens;
  Peak peak_int8;
};

struct KernelTable {
  const char* name;
  LayerNorm layer_norm;
  TokenShift token_shift;
  Wkv4 wkv4;
  Wkv5 wkv5;
  Wkv7 wkv7;
  Wkv7Keys wkv7_keys;
  Wkv7Bonus wkv7_bonus;
  Gemm gemm_f32;
  Gemm gemm_f16;
  Gemm gemm_bf16;
  QuantizedKernels quantized;
  QuantizeActivations quantize_activations;
  QuantizeWeights quantize_weights;
  QuantizeInt4 quantize_int4;
  Elementwise relu_squared;
  Elementwise sigmoid;
  Elementwise tanh;
  Forget forget_v6;
  Forget forget_v7;
  Elementwise2 multiply_silu;
  Elementwise2 add;
  Elementwise2 multiply;
  Elementwise3 add_gated;
  Elementwise3 move_towards;
  LogSumExp log_sum_exp;
  CopyFinite copy_finite;
  Maxima maxima;
  Weigh weigh;
  SumAtLeast sum_at_least;
  Collect collect;
  AddToBuckets add_to_buckets;
  Peak peak_f32;
};

// Compiled for every processor.
const KernelTable& portable_kernels();
// Defined where the build has them; call only on a processor that has the instructions.
const KernelTable& avx2_kernels();
const KernelTable& avxvnni_kernels();
const KernelTable& avx512_kernels();
const KernelTable& avx512vnni_kernels();
const KernelTable& neon_kernels();
const KernelTable& dotprod_kernels();
const KernelTable& i8mm_kernels();

}  // namespace wkv
