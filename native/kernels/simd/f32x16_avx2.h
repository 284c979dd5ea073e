#pragma once

// Sixteen floats in two AVX2 registers, with FMA and F16C; see f32x16.h.

#include <immintrin.h>

#include <cstdint>

namespace wkv::WKV_ISA_NAMESPACE {

struct F32x16 {
  __m256 low;
  __m256 high;
};

inline F32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, F32x16 a) {
  _mm256_storeu_ps(p, a.low);
  _mm256_storeu_ps(p + 8, a.high);
}

// Lanes [0, count - first) of a mask for eight lanes that begin at `first`.
inline __m256i mask_first(int count, int first) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count - first), lanes);
}
inline F32x16 load_first(const float* p, int count) {
  const __m256 low = _mm256_maskload_ps(p, mask_first(count, 0));
  return {low, count > 8 ? _mm256_maskload_ps(p + 8, mask_first(count, 8)) : _mm256_setzero_ps()};
}
inline void store_first(float* p, F32x16 a, int count) {
  _mm256_maskstore_ps(p, mask_first(count, 0), a.low);
  if (count > 8) _mm256_maskstore_ps(p + 8, mask_first(count, 8), a.high);
}

inline __m256 widen_bf16(const std::uint16_t* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
inline F32x16 load_bf16(const std::uint16_t* p) { return {widen_bf16(p), widen_bf16(p + 8)}; }
inline F32x16 load_f16(const std::uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}

inline F32x16 broadcast(float a) { return {_mm256_set1_ps(a), _mm256_set1_ps(a)}; }
inline F32x16 add(F32x16 a, F32x16 b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
inline F32x16 sub(F32x16 a, F32x16 b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
inline F32x16 mul(F32x16 a, F32x16 b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
inline F32x16 div(F32x16 a, F32x16 b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline F32x16 min(F32x16 a, F32x16 b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
inline F32x16 max(F32x16 a, F32x16 b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }

inline __m256 scale_eight(__m256 a, __m256 shifted) {
  const __m256i bits = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  const __m256i power = _mm256_add_epi32(bits, _mm256_set1_epi32(0x3f800000));
  return _mm256_mul_ps(a, _mm256_castsi256_ps(power));
}
inline F32x16 scale_by_exponent(F32x16 a, F32x16 shifted) {
  return {scale_eight(a.low, shifted.low), scale_eight(a.high, shifted.high)};
}

inline float reduce_add(F32x16 a) {
  const __m256 eight = _mm256_add_ps(a.low, a.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

inline __m256 max_magnitude(__m256 most, __m256 a) {
  const __m256i bits = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x7fffffff));
  return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(most), bits));
}
inline F32x16 max_magnitude(F32x16 most, F32x16 a) {
  return {max_magnitude(most.low, a.low), max_magnitude(most.high, a.high)};
}
inline float reduce_magnitude(F32x16 magnitudes) {
  const __m256i eight =
      _mm256_max_epi32(_mm256_castps_si256(magnitudes.low), _mm256_castps_si256(magnitudes.high));
  const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  const __m128i one = _mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1));
  return compiler::float_of(_mm_cvtsi128_si32(one));
}

// The sixteen numbers in 16 bits, in the order 0-3, 8-11, 4-7, 12-15.
inline __m256i pack_int16(F32x16 a) {
  return _mm256_packs_epi32(_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high));
}
inline void store_int8(std::int8_t* p, F32x16 a) {
  const __m256i words = _mm256_permute4x64_epi64(pack_int16(a), 0xd8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
inline void store_uint8(unsigned char* p, F32x16 a) {
  const __m256i words = _mm256_permute4x64_epi64(pack_int16(a), 0xd8);
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}

inline std::uint32_t mask_at_least(F32x16 a, F32x16 b) {
  const int low = _mm256_movemask_ps(_mm256_cmp_ps(a.low, b.low, _CMP_GE_OQ));
  const int high = _mm256_movemask_ps(_mm256_cmp_ps(a.high, b.high, _CMP_GE_OQ));
  return static_cast<std::uint32_t>(low) | static_cast<std::uint32_t>(high) << 8U;
}
inline F32x16 zero_unless_at_least(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_and_ps(_mm256_cmp_ps(a.low, b.low, _CMP_GE_OQ), c.low),
          _mm256_and_ps(_mm256_cmp_ps(a.high, b.high, _CMP_GE_OQ), c.high)};
}

}  // namespace wkv::WKV_ISA_NAMESPACE
