#pragma once

// Sixteen floats in four NEON registers (arm64); see f32x16.h.

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace wkv::WKV_ISA_NAMESPACE {

struct F32x16 {
  float32x4_t q[4];
};

inline F32x16 load(const float* p) {
  return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}
inline void store(float* p, F32x16 a) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, a.q[i]);
}

inline F32x16 load_first(const float* p, int count) {
  float lanes[16] = {};
  std::memcpy(lanes, p, static_cast<std::size_t>(count) * sizeof(float));
  return load(lanes);
}
inline void store_first(float* p, F32x16 a, int count) {
  float lanes[16];
  store(lanes, a);
  std::memcpy(p, lanes, static_cast<std::size_t>(count) * sizeof(float));
}

inline float32x4_t widen_bf16(uint16x4_t half) { return vreinterpretq_f32_u32(vshll_n_u16(half, 16)); }
inline F32x16 load_bf16(const std::uint16_t* p) {
  const uint16x8_t a = vld1q_u16(p);
  const uint16x8_t b = vld1q_u16(p + 8);
  return {{widen_bf16(vget_low_u16(a)), widen_bf16(vget_high_u16(a)), widen_bf16(vget_low_u16(b)),
           widen_bf16(vget_high_u16(b))}};
}
inline F32x16 load_f16(const std::uint16_t* p) {
  const float16x8_t a = vreinterpretq_f16_u16(vld1q_u16(p));
  const float16x8_t b = vreinterpretq_f16_u16(vld1q_u16(p + 8));
  return {{vcvt_f32_f16(vget_low_f16(a)), vcvt_f32_f16(vget_high_f16(a)), vcvt_f32_f16(vget_low_f16(b)),
           vcvt_f32_f16(vget_high_f16(b))}};
}

// clang-format off
inline F32x16 broadcast(float a) { const float32x4_t q = vdupq_n_f32(a); return {{q, q, q, q}}; }
inline F32x16 add(F32x16 a, F32x16 b) { for (int i = 0; i < 4; ++i) a.q[i] = vaddq_f32(a.q[i], b.q[i]); return a; }
inline F32x16 sub(F32x16 a, F32x16 b) { for (int i = 0; i < 4; ++i) a.q[i] = vsubq_f32(a.q[i], b.q[i]); return a; }
inline F32x16 mul(F32x16 a, F32x16 b) { for (int i = 0; i < 4; ++i) a.q[i] = vmulq_f32(a.q[i], b.q[i]); return a; }
inline F32x16 div(F32x16 a, F32x16 b) { for (int i = 0; i < 4; ++i) a.q[i] = vdivq_f32(a.q[i], b.q[i]); return a; }
inline F32x16 min(F32x16 a, F32x16 b) { for (int i = 0; i < 4; ++i) a.q[i] = vminq_f32(a.q[i], b.q[i]); return a; }
inline F32x16 max(F32x16 a, F32x16 b) { for (int i = 0; i < 4; ++i) a.q[i] = vmaxq_f32(a.q[i], b.q[i]); return a; }
// clang-format on

inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  for (int i = 0; i < 4; ++i) c.q[i] = vfmaq_f32(c.q[i], a.q[i], b.q[i]);
  return c;
}

inline F32x16 scale_by_exponent(F32x16 a, F32x16 shifted) {
  for (int i = 0; i < 4; ++i) {
    const uint32x4_t bits = vshlq_n_u32(vreinterpretq_u32_f32(shifted.q[i]), 23);
    const uint32x4_t power = vaddq_u32(bits, vdupq_n_u32(0x3f800000U));
    a.q[i] = vmulq_f32(a.q[i], vreinterpretq_f32_u32(power));
  }
  return a;
}

inline float reduce_add(F32x16 a) {
  const float32x4_t four = vaddq_f32(vaddq_f32(a.q[0], a.q[2]), vaddq_f32(a.q[1], a.q[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

inline F32x16 max_magnitude(F32x16 most, F32x16 a) {
  for (int i = 0; i < 4; ++i) {
    const uint32x4_t bits = vandq_u32(vreinterpretq_u32_f32(a.q[i]), vdupq_n_u32(0x7fffffffU));
    most.q[i] = vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(most.q[i]), bits));
  }
  return most;
}
inline float reduce_magnitude(F32x16 magnitudes) {
  uint32x4_t four = vreinterpretq_u32_f32(magnitudes.q[0]);
  for (int i = 1; i < 4; ++i) four = vmaxq_u32(four, vreinterpretq_u32_f32(magnitudes.q[i]));
  return compiler::float_of(static_cast<std::int32_t>(vmaxvq_u32(four)));
}
inline int8x16_t narrow(F32x16 a) {
  int16x4_t words[4];
  for (int i = 0; i < 4; ++i) words[i] = vmovn_s32(vcvtq_s32_f32(a.q[i]));
  return vcombine_s8(vmovn_s16(vcombine_s16(words[0], words[1])),
                     vmovn_s16(vcombine_s16(words[2], words[3])));
}
inline void store_int8(std::int8_t* p, F32x16 a) { vst1q_s8(p, narrow(a)); }
inline void store_uint8(unsigned char* p, F32x16 a) { vst1q_u8(p, vreinterpretq_u8_s8(narrow(a))); }

inline std::uint32_t mask_at_least(F32x16 a, F32x16 b) {
  const std::uint32_t bits[4] = {1, 2, 4, 8};
  std::uint32_t mask = 0;
  for (int i = 0; i < 4; ++i) {
    mask |= vaddvq_u32(vandq_u32(vcgeq_f32(a.q[i], b.q[i]), vld1q_u32(bits))) << (4 * i);
  }
  return mask;
}
inline F32x16 zero_unless_at_least(F32x16 a, F32x16 b, F32x16 c) {
  for (int i = 0; i < 4; ++i) {
    c.q[i] = vreinterpretq_f32_u32(vandq_u32(vcgeq_f32(a.q[i], b.q[i]), vreinterpretq_u32_f32(c.q[i])));
  }
  return c;
}

}  // namespace wkv::WKV_ISA_NAMESPACE
