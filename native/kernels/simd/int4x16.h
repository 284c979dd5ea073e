#pragma once

// Sums of products of weights of 4 bits with activations of 8: sixteen rows at once. Included after i32x16.h.
//
//   Weights16x8                 what load_nibbles made of 64 bytes: sixteen rows, eight columns of each
//   Indices16                   what load_indices made of 16 bytes: a row's indices of two multipliers
//   Multipliers16               multipliers_of<half>(indices): a row's number, -127 to 127, which the low (0)
//                               or the high (1) half of its byte stands for
//   load_scales(p)              int4_scale of 16 bytes
//   BlockSums                   a sum per row over 16 columns
//   begin_block(offset)         where they begin; `offset` is -8 * the sum of the activations' codes
//   dot_nibbles<n>(sums, weights, x)   adds the eight columns from 8 * n on of the 16 at x
//   add_multiplied(sums, block, multipliers)   sums[row] + block[row] * multipliers[row]
//   kInt4TileTokens             tokens of a register tile of gemm_int4

#if WKV_DOT_AVX512VNNI
#include "kernels/simd/int4x16_avx512vnni.h"
#elif WKV_ISA_AVX2
#include "kernels/simd/int4x16_avx2.h"
#elif WKV_ISA_NEON
#include "kernels/simd/int4x16_neon.h"
#else
#include "kernels/simd/int4x16_portable.h"
#endif
