#pragma once

// With AVX-512 VNNI; see i32x16.h.

namespace wkv::WKV_ISA_NAMESPACE {

constexpr bool kWeightsBiased = true;
constexpr int kInt8TileTokens = 12;  // 2 x 12 sums of 32 registers
constexpr int kInt8TileVectors = 2;

struct I32x16 {
  __m512i v;
};
using Weights16x4 = __m512i;
using Quads = const std::int8_t*;

inline Weights16x4 load_weights(const unsigned char* p) { return _mm512_loadu_si512(p); }
inline Quads load_quads(const std::int8_t* p) { return p; }
inline I32x16 broadcast_int32(std::int32_t a) { return {_mm512_set1_epi32(a)}; }

template <int kQuad>
inline I32x16 dot(I32x16 sums, Weights16x4 weights, Quads x) {
  return {compiler::dot_with_quad(sums.v, weights, x + kQuad * 4)};
}

inline F32x16 to_float(I32x16 a) { return {_mm512_cvtepi32_ps(a.v)}; }

}  // namespace wkv::WKV_ISA_NAMESPACE
