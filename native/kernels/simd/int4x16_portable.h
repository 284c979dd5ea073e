#pragma once

// For processors without any of the other forms; see int4x16.h.

namespace wkv::WKV_ISA_NAMESPACE {

constexpr int kInt4TileTokens = 2;

struct Weights16x8 {
  unsigned char first[64];
  unsigned char second[64];
};
inline Weights16x8 load_nibbles(const unsigned char* p) {
  Weights16x8 weights;
  for (int i = 0; i < 64; ++i) {
    weights.first[i] = static_cast<unsigned char>(p[i] % 16);
    weights.second[i] = static_cast<unsigned char>(p[i] / 16);
  }
  return weights;
}

struct Multipliers16 {
  std::int32_t lane[16];
};
using Indices16 = const unsigned char*;
inline Indices16 load_indices(const unsigned char* p) { return p; }
template <int kHalf>
inline Multipliers16 multipliers_of(Indices16 indices) {
  Multipliers16 multipliers;
  for (int i = 0; i < 16; ++i) {
    multipliers.lane[i] = int4_multiplier(kHalf == 0 ? indices[i] % 16 : indices[i] / 16);
  }
  return multipliers;
}

inline F32x16 load_scales(const unsigned char* p) {
  return per_lane([&](int i) { return int4_scale(p[i]); });
}

using BlockSums = I32x16;
inline BlockSums begin_block(std::int32_t offset) { return broadcast_int32(offset); }

template <int kEight>
inline BlockSums dot_nibbles(BlockSums sums, const Weights16x8& weights, const std::int8_t* x) {
  return dot<2 * kEight + 1>(dot<2 * kEight>(sums, weights.first, x), weights.second, x);
}

inline I32x16 add_multiplied(I32x16 sums, BlockSums block, const Multipliers16& multipliers) {
  for (int i = 0; i < 16; ++i) sums.lane[i] += block.lane[i] * multipliers.lane[i];
  return sums;
}

}  // namespace wkv::WKV_ISA_NAMESPACE
