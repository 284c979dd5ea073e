#pragma once

// With AVX2, or with AVX-VNNI's dot products (WKV_DOT_AVXVNNI); see i32x16.h.

namespace wkv::WKV_ISA_NAMESPACE {

constexpr int kInt8TileTokens = 4;
constexpr int kInt8TileVectors = 1;

struct I32x16 {
  __m256i low;
  __m256i high;
};
using Quads = const std::int8_t*;
inline Quads load_quads(const std::int8_t* p) { return p; }

inline I32x16 broadcast_int32(std::int32_t a) { return {_mm256_set1_epi32(a), _mm256_set1_epi32(a)}; }

template <int kQuad>
inline __m256i broadcast_quad(Quads x) {
  std::int32_t four;
  std::memcpy(&four, x + kQuad * 4, sizeof four);
  return _mm256_set1_epi32(four);
}

#if WKV_DOT_AVXVNNI

constexpr bool kWeightsBiased = true;

struct Weights16x4 {
  __m256i low;
  __m256i high;
};
inline Weights16x4 load_weights(const unsigned char* p) {
  const auto* vectors = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(vectors), _mm256_loadu_si256(vectors + 1)};
}

template <int kQuad>
inline I32x16 dot(I32x16 sums, Weights16x4 weights, Quads x) {
  const __m256i quad = broadcast_quad<kQuad>(x);
  return {_mm256_dpbusd_avx_epi32(sums.low, weights.low, quad),
          _mm256_dpbusd_avx_epi32(sums.high, weights.high, quad)};
}

#else

constexpr bool kWeightsBiased = false;

// vpmaddubsw adds two products of an unsigned and a signed byte in 16 bits and saturates: with a weight of
// 255 it would. So the magnitudes of the weights are multiplied with activations that have taken over the
// weights' signs: at most 2 * 127 * 127 = 32,258.
struct Weights16x4 {
  __m256i low, high;
  __m256i low_magnitude, high_magnitude;
};
inline Weights16x4 load_weights(const unsigned char* p) {
  const auto* vectors = reinterpret_cast<const __m256i*>(p);
  const __m256i bias = _mm256_set1_epi8(-128);
  const __m256i low = _mm256_xor_si256(_mm256_loadu_si256(vectors), bias);
  const __m256i high = _mm256_xor_si256(_mm256_loadu_si256(vectors + 1), bias);
  return {low, high, _mm256_abs_epi8(low), _mm256_abs_epi8(high)};
}

inline __m256i dot_eight(__m256i sums, __m256i weights, __m256i magnitudes, __m256i quad) {
  const __m256i pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(quad, weights));
  return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

template <int kQuad>
inline I32x16 dot(I32x16 sums, const Weights16x4& weights, Quads x) {
  const __m256i quad = broadcast_quad<kQuad>(x);
  return {dot_eight(sums.low, weights.low, weights.low_magnitude, quad),
          dot_eight(sums.high, weights.high, weights.high_magnitude, quad)};
}

#endif

inline F32x16 to_float(I32x16 a) { return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }

}  // namespace wkv::WKV_ISA_NAMESPACE
