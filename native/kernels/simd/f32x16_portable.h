#pragma once

// Sixteen floats in an array: for processors without any of the other forms; see f32x16.h.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/compiler.h"
#include "kernels/simd/half.h"

namespace wkv::WKV_ISA_NAMESPACE {

struct F32x16 {
  float lane[16];
};

inline F32x16 load(const float* p) {
  F32x16 a;
  std::memcpy(a.lane, p, sizeof a.lane);
  return a;
}
inline void store(float* p, F32x16 a) { std::memcpy(p, a.lane, sizeof a.lane); }

inline F32x16 load_first(const float* p, int count) {
  F32x16 a = {};
  std::memcpy(a.lane, p, static_cast<std::size_t>(count) * sizeof(float));
  return a;
}
inline void store_first(float* p, F32x16 a, int count) {
  std::memcpy(p, a.lane, static_cast<std::size_t>(count) * sizeof(float));
}

template <class Operation>
inline F32x16 per_lane(Operation operation) {
  F32x16 result;
  for (int i = 0; i < 16; ++i) result.lane[i] = operation(i);
  return result;
}

inline F32x16 load_bf16(const std::uint16_t* p) {
  return per_lane([p](int i) { return bf16_to_f32(p[i]); });
}
inline F32x16 load_f16(const std::uint16_t* p) {
  return per_lane([p](int i) { return f16_to_f32(p[i]); });
}

// clang-format off
inline F32x16 broadcast(float a) { return per_lane([a](int) { return a; }); }
inline F32x16 add(F32x16 a, F32x16 b) { return per_lane([&](int i) { return a.lane[i] + b.lane[i]; }); }
inline F32x16 sub(F32x16 a, F32x16 b) { return per_lane([&](int i) { return a.lane[i] - b.lane[i]; }); }
inline F32x16 mul(F32x16 a, F32x16 b) { return per_lane([&](int i) { return a.lane[i] * b.lane[i]; }); }
inline F32x16 div(F32x16 a, F32x16 b) { return per_lane([&](int i) { return a.lane[i] / b.lane[i]; }); }
inline F32x16 min(F32x16 a, F32x16 b) { return per_lane([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; }); }
inline F32x16 max(F32x16 a, F32x16 b) { return per_lane([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; }); }
// clang-format on

inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return per_lane([&](int i) { return compiler::fma(a.lane[i], b.lane[i], c.lane[i]); });
}

inline F32x16 scale_by_exponent(F32x16 a, F32x16 shifted) {
  return per_lane([&](int i) {
    const std::uint32_t power = (bits_of(shifted.lane[i]) << 23U) + 0x3f800000U;
    return a.lane[i] * float_of(power);
  });
}

inline float reduce_add(F32x16 a) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) a.lane[i] += a.lane[i + width];
  }
  return a.lane[0];
}

inline F32x16 max_magnitude(F32x16 most, F32x16 a) {
  return per_lane([&](int i) {
    const std::uint32_t bits = bits_of(a.lane[i]) & 0x7fffffffU;
    return bits_of(most.lane[i]) > bits ? most.lane[i] : float_of(bits);
  });
}
inline float reduce_magnitude(F32x16 magnitudes) {
  float most = magnitudes.lane[0];
  for (int i = 1; i < 16; ++i) {
    if (bits_of(magnitudes.lane[i]) > bits_of(most)) most = magnitudes.lane[i];
  }
  return most;
}
inline void store_int8(std::int8_t* p, F32x16 a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<std::int8_t>(a.lane[i]);
}
inline void store_uint8(unsigned char* p, F32x16 a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<unsigned char>(a.lane[i]);
}

inline std::uint32_t mask_at_least(F32x16 a, F32x16 b) {
  std::uint32_t mask = 0;
  for (int i = 0; i < 16; ++i) mask |= (a.lane[i] >= b.lane[i] ? 1U : 0U) << i;
  return mask;
}
inline F32x16 zero_unless_at_least(F32x16 a, F32x16 b, F32x16 c) {
  return per_lane([&](int i) { return a.lane[i] >= b.lane[i] ? c.lane[i] : 0.0F; });
}

}  // namespace wkv::WKV_ISA_NAMESPACE
