#pragma once

// With AVX2, or with AVX-VNNI's dot products (WKV_DOT_AVXVNNI); see int4x16.h.

namespace wkv::WKV_ISA_NAMESPACE {

constexpr int kInt4TileTokens = 4;

struct Weights16x8 {
  __m256i low_first, high_first;  // rows 0 to 7 and 8 to 15
  __m256i low_second, high_second;
};
inline Weights16x8 load_nibbles(const unsigned char* p) {
  const auto* vectors = reinterpret_cast<const __m256i*>(p);
  const __m256i mask = _mm256_set1_epi8(15);
  const __m256i low = _mm256_loadu_si256(vectors);
  const __m256i high = _mm256_loadu_si256(vectors + 1);
  return {_mm256_and_si256(low, mask), _mm256_and_si256(high, mask),
          _mm256_and_si256(_mm256_srli_epi16(low, 4), mask),
          _mm256_and_si256(_mm256_srli_epi16(high, 4), mask)};
}

struct Multipliers16 {
  __m256i low;
  __m256i high;
};
struct Indices16 {
  __m128i v;
};
inline Indices16 load_indices(const unsigned char* p) {
  return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))};
}
template <int kHalf>
inline __m128i multiplier_bytes(Indices16 indices) {
  const __m128i lanes =
      _mm_and_si128(kHalf == 0 ? indices.v : _mm_srli_epi16(indices.v, 4), _mm_set1_epi8(15));
  return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kInt4Multipliers)), lanes);
}

inline __m256 eight_scales(const unsigned char* p) {
  const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_slli_epi32(bytes, kInt4ScaleShift), _mm256_set1_epi32(kInt4LeastScaleBits)));
}
inline F32x16 load_scales(const unsigned char* p) { return {eight_scales(p), eight_scales(p + 8)}; }

struct BlockSums {
  __m256i low;
  __m256i high;
};

#if WKV_DOT_AVXVNNI

// In the low 16 bits of a row's 32, where a block's sum fits; the high ones are 0.
template <int kHalf>
inline Multipliers16 multipliers_of(Indices16 indices) {
  const __m128i bytes = multiplier_bytes<kHalf>(indices);
  const __m256i words = _mm256_set1_epi32(0xffff);
  return {_mm256_and_si256(_mm256_cvtepi8_epi32(bytes), words),
          _mm256_and_si256(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)), words)};
}

inline BlockSums begin_block(std::int32_t offset) {
  return {_mm256_set1_epi32(offset), _mm256_set1_epi32(offset)};
}

template <int kEight>
inline BlockSums dot_nibbles(BlockSums sums, const Weights16x8& weights, const std::int8_t* x) {
  const __m256i first = broadcast_quad<2 * kEight>(x);
  const __m256i second = broadcast_quad<2 * kEight + 1>(x);
  const __m256i low = _mm256_dpbusd_avx_epi32(sums.low, weights.low_first, first);
  const __m256i high = _mm256_dpbusd_avx_epi32(sums.high, weights.high_first, first);
  return {_mm256_dpbusd_avx_epi32(low, weights.low_second, second),
          _mm256_dpbusd_avx_epi32(high, weights.high_second, second)};
}

inline I32x16 add_multiplied(I32x16 sums, BlockSums block, Multipliers16 multipliers) {
  return {_mm256_dpwssd_avx_epi32(sums.low, block.low, multipliers.low),
          _mm256_dpwssd_avx_epi32(sums.high, block.high, multipliers.high)};
}

#else

// A block is summed in 16 bits, two sums to a row, for each other pair of columns: 8 products of at most
// 15 * 127, and the offset. Multiplying adds the two.
template <int kHalf>
inline Multipliers16 multipliers_of(Indices16 indices) {
  const __m128i bytes = multiplier_bytes<kHalf>(indices);
  return {_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(bytes, bytes)),
          _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(bytes, bytes))};
}

inline BlockSums begin_block(std::int32_t offset) {
  const __m256i first = _mm256_set1_epi32(offset & 0xffff);
  return {first, first};
}

template <int kEight>
inline BlockSums dot_nibbles(BlockSums sums, const Weights16x8& weights, const std::int8_t* x) {
  const __m256i first = broadcast_quad<2 * kEight>(x);
  const __m256i second = broadcast_quad<2 * kEight + 1>(x);
  const __m256i low = _mm256_add_epi16(sums.low, _mm256_maddubs_epi16(weights.low_first, first));
  const __m256i high = _mm256_add_epi16(sums.high, _mm256_maddubs_epi16(weights.high_first, first));
  return {_mm256_add_epi16(low, _mm256_maddubs_epi16(weights.low_second, second)),
          _mm256_add_epi16(high, _mm256_maddubs_epi16(weights.high_second, second))};
}

inline I32x16 add_multiplied(I32x16 sums, BlockSums block, Multipliers16 multipliers) {
  return {_mm256_add_epi32(sums.low, _mm256_madd_epi16(block.low, multipliers.low)),
          _mm256_add_epi32(sums.high, _mm256_madd_epi16(block.high, multipliers.high))};
}

#endif

}  // namespace wkv::WKV_ISA_NAMESPACE
