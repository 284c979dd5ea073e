#pragma once

// With NEON, with the dot products of ARMv8.2 (WKV_DOT_NEON), or with the products of unsigned and signed
// bytes of ARMv8.6 (WKV_DOT_I8MM); see i32x16.h.

namespace wkv::WKV_ISA_NAMESPACE {

constexpr int kInt8TileTokens = 4;
constexpr int kInt8TileVectors = 1;

struct I32x16 {
  int32x4_t q[4];
};
using Quads = int8x16_t;
inline Quads load_quads(const std::int8_t* p) { return vld1q_s8(p); }

inline I32x16 broadcast_int32(std::int32_t a) {
  const int32x4_t q = vdupq_n_s32(a);
  return {{q, q, q, q}};
}

#if WKV_DOT_I8MM

constexpr bool kWeightsBiased = true;

struct Weights16x4 {
  uint8x16_t q[4];
};
inline Weights16x4 load_weights(const unsigned char* p) {
  return {{vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)}};
}

template <int kQuad>
inline I32x16 dot(I32x16 sums, const Weights16x4& weights, Quads x) {
  for (int i = 0; i < 4; ++i) sums.q[i] = vusdotq_laneq_s32(sums.q[i], weights.q[i], x, kQuad);
  return sums;
}

#else

constexpr bool kWeightsBiased = false;

struct Weights16x4 {
  int8x16_t q[4];
};
inline Weights16x4 load_weights(const unsigned char* p) {
  Weights16x4 weights;
  for (int i = 0; i < 4; ++i) {
    weights.q[i] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p + 16 * i), vdupq_n_u8(128)));
  }
  return weights;
}

template <int kQuad>
inline I32x16 dot(I32x16 sums, const Weights16x4& weights, Quads x) {
#if WKV_DOT_NEON
  for (int i = 0; i < 4; ++i) sums.q[i] = vdotq_laneq_s32(sums.q[i], weights.q[i], x, kQuad);
#else
  const int8x16_t quad = vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(x), kQuad));
  for (int i = 0; i < 4; ++i) {
    // Products in 16 bits, neighbours added twice: first two to 32 bits, then the two halves of a row.
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(weights.q[i]), vget_low_s8(quad)));
    const int32x4_t high = vpaddlq_s16(vmull_high_s8(weights.q[i], quad));
    sums.q[i] = vaddq_s32(sums.q[i], vpaddq_s32(low, high));
  }
#endif
  return sums;
}

#endif

inline F32x16 to_float(I32x16 a) {
  return {{vcvtq_f32_s32(a.q[0]), vcvtq_f32_s32(a.q[1]), vcvtq_f32_s32(a.q[2]), vcvtq_f32_s32(a.q[3])}};
}

}  // namespace wkv::WKV_ISA_NAMESPACE
