#pragma once

// AVX-512 on a processor without it: the instructions that the kernels use, as functions. Most are SIMDe's;
// here are those that it does not have. So the forms for AVX-512 and its VNNI are tested everywhere.

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace wkv::emulated {

template <class To, class From>
To from_bytes(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

template <class Number>
struct Lanes {
  Number lane[16];
};

// A register made of the sixteen lanes of another, each by `operation`.
template <class To, class Result, class Number, class From, class Operation>
To map(const From& from, Operation operation) {
  const auto lanes = from_bytes<Lanes<Number>>(from);
  Lanes<Result> results;
  for (int i = 0; i < 16; ++i) results.lane[i] = operation(lanes.lane[i]);
  return from_bytes<To>(results);
}

inline __m128i cvtepi32_epi8(__m512i a) {
  return map<__m128i, std::int8_t, std::int32_t>(a,
                                                 [](std::int32_t x) { return static_cast<std::int8_t>(x); });
}
inline __m512i cvtepi8_epi32(__m128i a) {
  return map<__m512i, std::int32_t, std::int8_t>(a, [](std::int8_t x) { return std::int32_t{x}; });
}
inline __m512i cvtepu8_epi32(__m128i a) {
  return map<__m512i, std::uint32_t, std::uint8_t>(a, [](std::uint8_t x) { return std::uint32_t{x}; });
}
inline __m512 cvtepi32_ps(__m512i a) {
  return map<__m512, float, std::int32_t>(a, [](std::int32_t x) { return static_cast<float>(x); });
}
inline __m512i cvtepu16_epi32(__m256i a) {
  return map<__m512i, std::uint32_t, std::uint16_t>(a, [](std::uint16_t x) { return std::uint32_t{x}; });
}
inline __m512i cvtps_epi32(__m512 a) {
  return map<__m512i, std::int32_t, float>(
      a, [](float x) { return static_cast<std::int32_t>(std::nearbyint(x)); });
}
inline __m512 cvtph_ps(__m256i a) {
  struct Pair {
    __m256 low, high;
  };
  return from_bytes<__m512>(
      Pair{_mm256_cvtph_ps(_mm256_castsi256_si128(a)), _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1))});
}
inline __m512 maskz_loadu_ps(unsigned mask, const float* p) {
  Lanes<float> lanes = {};
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i & 1U) != 0) lanes.lane[i] = p[i];
  }
  return from_bytes<__m512>(lanes);
}
inline void mask_storeu_ps(float* p, unsigned mask, __m512 a) {
  const auto lanes = from_bytes<Lanes<float>>(a);
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i & 1U) != 0) p[i] = lanes.lane[i];
  }
}

}  // namespace wkv::emulated

#define _mm512_cvtepi8_epi32 wkv::emulated::cvtepi8_epi32
#define _mm512_cvtepu8_epi32 wkv::emulated::cvtepu8_epi32
#define _mm512_cvtepi32_epi8 wkv::emulated::cvtepi32_epi8
#define _mm512_cvtepi32_ps wkv::emulated::cvtepi32_ps
#define _mm512_cvtepu16_epi32 wkv::emulated::cvtepu16_epi32
#define _mm512_cvtps_epi32 wkv::emulated::cvtps_epi32
#define _mm512_cvtph_ps wkv::emulated::cvtph_ps
#define _mm512_maskz_loadu_ps wkv::emulated::maskz_loadu_ps
#define _mm512_mask_storeu_ps wkv::emulated::mask_storeu_ps

// SIMDe's alias takes the arguments of the masked form.
#undef _mm512_madd_epi16
#define _mm512_madd_epi16 simde_mm512_madd_epi16

// Assembler is not emulated.
#define WKV_NO_ASSEMBLER 1
