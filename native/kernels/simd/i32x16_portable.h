#pragma once

// For processors without any of the other forms; see i32x16.h.

namespace wkv::WKV_ISA_NAMESPACE {

constexpr bool kWeightsBiased = true;
constexpr int kInt8TileTokens = 2;
constexpr int kInt8TileVectors = 1;

struct I32x16 {
  std::int32_t lane[16];
};
using Weights16x4 = const unsigned char*;
using Quads = const std::int8_t*;

inline Weights16x4 load_weights(const unsigned char* p) { return p; }
inline Quads load_quads(const std::int8_t* p) { return p; }

inline I32x16 broadcast_int32(std::int32_t a) {
  I32x16 result;
  for (std::int32_t& lane : result.lane) lane = a;
  return result;
}

template <int kQuad>
inline I32x16 dot(I32x16 sums, Weights16x4 weights, Quads x) {
  const auto code = [x](int column) { return static_cast<std::int32_t>(x[kQuad * 4 + column]); };
  const std::int32_t x0 = code(0);
  const std::int32_t x1 = code(1);
  const std::int32_t x2 = code(2);
  const std::int32_t x3 = code(3);
  for (int i = 0; i < 16; ++i) {
    const unsigned char* row = weights + i * 4;
    sums.lane[i] += row[0] * x0 + row[1] * x1 + row[2] * x2 + row[3] * x3;
  }
  return sums;
}

inline F32x16 to_float(I32x16 a) {
  return per_lane([&](int i) { return static_cast<float>(a.lane[i]); });
}

}  // namespace wkv::WKV_ISA_NAMESPACE
