#pragma once

// The one vector type of the kernels: sixteen floats, whatever the processor's registers hold.
//
// A fast kernel is written once against this type and compiled once per instruction set (kernels/isa). Every
// operation is one IEEE operation per lane, so all instruction sets give the same bits; sums over lanes are
// taken by reduce_add, always in the order (i, i + 8), (i, i + 4), (i, i + 2), (i, i + 1).
//
//   load, store                 16 floats, any alignment
//   load_first, store_first     the first `count` lanes, 1 to 15; the others are 0 / left alone
//   load_bf16, load_f16         16 stored halves, widened exactly
//   broadcast add sub mul div
//   fma(a, b, c)                a * b + c, rounded once
//   min(a, b), max(a, b)        b where either is NaN (x86's rule; callers put what may be NaN second)
//   scale_by_exponent(a, s)     a * 2^n where s = 1.5 * 2^23 + n was made by adding that constant to n
//   reduce_add(a)               sum of the lanes
//   max_magnitude(m, a)         the larger of m and |a| as bits, so that NaN is the largest; m >= 0
//   reduce_magnitude(m)         the largest of the lanes as bits; all >= 0
//   store_int8, store_uint8     sixteen bytes from whole numbers that fit
//   mask_at_least(a, b)         bit l is set where a >= b in lane l
//   zero_unless_at_least(a, b, c)   c where a >= b, else 0
//
// Everything lives in a namespace named after the instruction set: an inline function compiled for AVX-512
// must never be the copy that the linker keeps for a machine without it. For the same reason these headers
// use no standard library templates.

#if WKV_ISA_AVX512
#ifndef WKV_ISA_NAMESPACE
#define WKV_ISA_NAMESPACE avx512
#endif
#include "kernels/simd/f32x16_avx512.h"
#elif WKV_ISA_AVX2
#ifndef WKV_ISA_NAMESPACE
#define WKV_ISA_NAMESPACE avx2
#endif
#include "kernels/simd/f32x16_avx2.h"
#elif WKV_ISA_NEON
#ifndef WKV_ISA_NAMESPACE
#define WKV_ISA_NAMESPACE neon
#endif
#include "kernels/simd/f32x16_neon.h"
#else
#define WKV_ISA_NAMESPACE portable
#include "kernels/simd/f32x16_portable.h"
#endif

namespace wkv::WKV_ISA_NAMESPACE {

// Calls body(offset, load, store) for each group of 16 of `size` elements; the last group may be partial.
template <class Body>
inline void for_each_16(int size, Body body) {
  int i = 0;
  for (; i + 16 <= size; i += 16) {
    body(
        i, [](const float* p) { return load(p); }, [](float* p, F32x16 a) { store(p, a); });
  }
  if (i < size) {
    const int rest = size - i;
    body(
        i, [rest](const float* p) { return load_first(p, rest); },
        [rest](float* p, F32x16 a) { store_first(p, a, rest); });
  }
}

}  // namespace wkv::WKV_ISA_NAMESPACE
