// The products of bytes, for the instruction set that the including file chose.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/compiler.h"
#include "kernels/kernel_table.h"
#include "kernels/simd/f32x16.h"
#include "kernels/simd/i32x16.h"

#include "kernels/gemm_int8/gemm_int8.inl.h"

namespace wkv::WKV_ISA_NAMESPACE {

constexpr Int8Kernels kInt8Kernels = {.gemm = gemm_int8, .tile_tokens = kInt8TileTokens};

}  // namespace wkv::WKV_ISA_NAMESPACE
