#pragma once

// Sums of products of 8-bit numbers: sixteen rows at once, four columns a step. Included after f32x16.h.
//
//   I32x16                      sixteen sums
//   Weights16x4                 what load_weights made of 64 bytes: sixteen rows, four columns of each
//   Quads                       sixteen columns of a token, as four quads
//   dot<q>(sums, weights, x)    sums[row] + the product of the row's four weights with the quad q
//   kWeightsBiased              whether dot takes the weights' codes as they are stored, with 128 added; the
//                               sums then begin at the token's offset instead of 0
//   kInt8TileTokens             tokens of a register tile of gemm_int8, with kInt8TileVectors * 16 rows
//   broadcast_int32, to_float
//
// Codes of activations are -127 to 127, stored codes of weights 1 to 255.

#if WKV_DOT_AVX512VNNI
#include "kernels/simd/i32x16_avx512vnni.h"
#elif WKV_ISA_AVX2
#include "kernels/simd/i32x16_avx2.h"
#elif WKV_ISA_NEON
#include "kernels/simd/i32x16_neon.h"
#else
#include "kernels/simd/i32x16_portable.h"
#endif
