#pragma once

// With NEON, the dot products of ARMv8.2 (WKV_DOT_NEON), or those of unsigned and signed bytes
// (WKV_DOT_I8MM); see int4x16.h.

namespace wkv::WKV_ISA_NAMESPACE {

constexpr int kInt4TileTokens = 2;  // 8 sums of blocks and 8 of groups, of 32 registers

struct Weights16x8 {
  Weights16x4 first;
  Weights16x4 second;
};
#if WKV_DOT_I8MM
inline uint8x16_t to_weights(uint8x16_t nibbles) { return nibbles; }
#else
inline int8x16_t to_weights(uint8x16_t nibbles) {
  return vsubq_s8(vreinterpretq_s8_u8(nibbles), vdupq_n_s8(8));
}
#endif
inline Weights16x8 load_nibbles(const unsigned char* p) {
  Weights16x8 weights;
  for (int i = 0; i < 4; ++i) {
    const uint8x16_t bytes = vld1q_u8(p + 16 * i);
    weights.first.q[i] = to_weights(vandq_u8(bytes, vdupq_n_u8(15)));
    weights.second.q[i] = to_weights(vshrq_n_u8(bytes, 4));
  }
  return weights;
}

struct Multipliers16 {
  int32x4_t q[4];
};
struct Indices16 {
  uint8x16_t q;
};
inline Indices16 load_indices(const unsigned char* p) { return {vld1q_u8(p)}; }
template <int kHalf>
inline Multipliers16 multipliers_of(Indices16 indices) {
  const uint8x16_t lanes = kHalf == 0 ? vandq_u8(indices.q, vdupq_n_u8(15)) : vshrq_n_u8(indices.q, 4);
  const int8x16_t bytes = vqtbl1q_s8(vld1q_s8(kInt4Multipliers), lanes);
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes));
  const int16x8_t high = vmovl_high_s8(bytes);
  return {{vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)),
           vmovl_high_s16(high)}};
}

inline F32x16 load_scales(const unsigned char* p) {
  const uint8x16_t bytes = vld1q_u8(p);
  const uint16x8_t low = vmovl_u8(vget_low_u8(bytes));
  const uint16x8_t high = vmovl_high_u8(bytes);
  const uint32x4_t words[4] = {vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low),
                               vmovl_u16(vget_low_u16(high)), vmovl_high_u16(high)};
  F32x16 scales;
  for (int i = 0; i < 4; ++i) {
    scales.q[i] = vreinterpretq_f32_u32(
        vaddq_u32(vshlq_n_u32(words[i], kInt4ScaleShift), vdupq_n_u32(kInt4LeastScaleBits)));
  }
  return scales;
}

using BlockSums = I32x16;
inline BlockSums begin_block(std::int32_t offset) { return broadcast_int32(kWeightsBiased ? offset : 0); }

template <int kEight>
inline BlockSums dot_nibbles(BlockSums sums, const Weights16x8& weights, const std::int8_t* x) {
  const Quads quads = load_quads(x);
  return dot<2 * kEight + 1>(dot<2 * kEight>(sums, weights.first, quads), weights.second, quads);
}

inline I32x16 add_multiplied(I32x16 sums, BlockSums block, Multipliers16 multipliers) {
  for (int i = 0; i < 4; ++i) sums.q[i] = vmlaq_s32(sums.q[i], block.q[i], multipliers.q[i]);
  return sums;
}

}  // namespace wkv::WKV_ISA_NAMESPACE
