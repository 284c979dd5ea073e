// The products of bytes, for the instruction set that the including file chose.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/compiler.h"
#include "kernels/kernel_table.h"
#include "kernels/simd/f32x16.h"
#include "kernels/simd/i32x16.h"
#include "kernels/simd/int4x16.h"

// The order matters: later forms use earlier ones.
#include "kernels/gemm_int8/sums.inl.h"
#if WKV_DOT_I8MM
#include "kernels/gemm_int8/sums_i8mm.inl.h"
#elif WKV_DOT_AVX512VNNI
#include "kernels/gemm_int8/sums_avx512vnni.inl.h"
#endif
#include "kernels/gemm_int8/gemm_int8.inl.h"
#include "kernels/gemm_int4/gemm_int4.inl.h"
#include "kernels/peak/peak_int8.inl.h"

namespace wkv::WKV_ISA_NAMESPACE {

constexpr QuantizedKernels kQuantizedKernels = {.gemm_int8 = gemm_int8,
                                                .gemm_int4 = gemm_int4,
                                                .int8_tile_tokens = kInt8TileTokens,
                                                .int4_tile_tokens = kInt4TileTokens,
                                                .peak_int8 = peak_int8};

}  // namespace wkv::WKV_ISA_NAMESPACE
