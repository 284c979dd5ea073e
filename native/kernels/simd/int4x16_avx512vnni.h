#pragma once

// With AVX-512 VNNI; see int4x16.h.

namespace wkv::WKV_ISA_NAMESPACE {

constexpr int kInt4TileTokens = 12;  // 12 sums of a block and 12 of a group, of 32 registers

struct Weights16x8 {
  __m512i first;
  __m512i second;
};
inline Weights16x8 load_nibbles(const unsigned char* p) {
  const __m512i bytes = _mm512_loadu_si512(p);
  const __m512i mask = _mm512_set1_epi8(15);
  return {_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask)};
}

// In the low 16 bits of a row's 32; the high ones are 0.
struct Multipliers16 {
  __m512i v;
};
struct Indices16 {
  __m512i v;
};
inline Indices16 load_indices(const unsigned char* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
template <int kHalf>
inline Multipliers16 multipliers_of(Indices16 indices) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kInt4Multipliers));
  const __m512i table = _mm512_and_si512(_mm512_cvtepi8_epi32(bytes), _mm512_set1_epi32(0xffff));
  // Of an index, vpermd takes the four lowest bits.
  const __m512i lanes = kHalf == 0 ? indices.v : _mm512_srli_epi32(indices.v, 4);
  return {_mm512_permutexvar_epi32(lanes, table)};
}

inline F32x16 load_scales(const unsigned char* p) {
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m512i bits =
      _mm512_add_epi32(_mm512_slli_epi32(bytes, kInt4ScaleShift), _mm512_set1_epi32(kInt4LeastScaleBits));
  return {_mm512_castsi512_ps(bits)};
}

using BlockSums = I32x16;
inline BlockSums begin_block(std::int32_t offset) { return broadcast_int32(offset); }

template <int kEight>
inline BlockSums dot_nibbles(BlockSums sums, Weights16x8 weights, const std::int8_t* x) {
  return dot<2 * kEight + 1>(dot<2 * kEight>(sums, weights.first, x), weights.second, x);
}

inline I32x16 add_multiplied(I32x16 sums, BlockSums block, Multipliers16 multipliers) {
  // A block's sum, at most 16 * 8 * 127, fits 16 bits.
  return {_mm512_dpwssd_epi32(sums.v, block.v, multipliers.v)};
}

}  // namespace wkv::WKV_ISA_NAMESPACE
