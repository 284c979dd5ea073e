#pragma once

// Weights of 4 bits, as the kernels for few and for many tokens take them.
//
// Sixteen columns of a panel, a unit, are 256 bytes, arranged as products read them: eight bytes for each
// lane. With row = lane / 4 and quad = lane % 4 a byte of the lane's word h has the column 4 quad + its place
// of two rows: of the panel's row 4 row + h in its low half, of row 4 row + 2 + h in its high half, signed.
// So two instructions make a product's operand of a word, of 16 times the codes. The sums are then 16 times
// what they should be, below 2^30, and scales a sixteenth.
//
// Behind the codes a pair of units has eight words of multipliers, each of four rows: of the first unit in
// its low half, half a byte for each row, of the second in its high half. Scales stay where they are.

#include "kernels/gemm_int4/cuda.h"
#include "kernels/gemm_int8/cuda_weights.cuh"

namespace wkv::cuda {

constexpr int kInt4UnitBytes = kUnitBytes / 2;
constexpr int kMultiplierWords = kInt8PanelRows / 4;  // of a pair of units
constexpr int kMultiplierBytes = kMultiplierWords * 4;

WKV_BOTH Cut int4_cut_of(int columns, int group) {
  Cut cut = cut_of(columns, group);
  cut.group_bytes = static_cast<std::ptrdiff_t>(cut.in_group) * kInt4UnitBytes;
  cut.panel_bytes = static_cast<std::ptrdiff_t>(cut.units) * kInt4UnitBytes +
                    static_cast<std::ptrdiff_t>((cut.units + 1) / 2) * kMultiplierBytes +
                    static_cast<std::ptrdiff_t>(cut.groups) * kInt8PanelRows;
  return cut;
}
// The multipliers of a panel, and its scales.
WKV_BOTH std::ptrdiff_t int4_multipliers_offset(const Cut& cut) {
  return static_cast<std::ptrdiff_t>(cut.units) * kInt4UnitBytes;
}
WKV_BOTH std::ptrdiff_t int4_scales_offset(const Cut& cut) {
  return int4_multipliers_offset(cut) + static_cast<std::ptrdiff_t>((cut.units + 1) / 2) * kMultiplierBytes;
}

// Of four rows.
struct Multipliers {
  int of[4];
};
// What four half bytes name in kInt4Multipliers.
WKV_DEVICE Multipliers multipliers_of(std::uint32_t indices) {
  // The first eight. A selector whose highest bit is set gives their sign, 0.
  constexpr std::uint32_t kLow = 0x3d332613;
  constexpr std::uint32_t kHigh = 0x7f6b594a;
  static_assert(kInt4Multipliers[0] == (kLow & 127U) && kInt4Multipliers[1] == (kLow >> 8U & 127U) &&
                kInt4Multipliers[2] == (kLow >> 16U & 127U) && kInt4Multipliers[3] == kLow >> 24U &&
                kInt4Multipliers[4] == (kHigh & 127U) && kInt4Multipliers[5] == (kHigh >> 8U & 127U) &&
                kInt4Multipliers[6] == (kHigh >> 16U & 127U) && kInt4Multipliers[7] == kHigh >> 24U);
  const std::uint32_t positive = select_bytes(kLow, kHigh, indices);
  const std::uint32_t negative = select_bytes(kLow, kHigh, indices ^ 0x8888U);
  // Byte by byte: 128 more than what they are lends nothing to a neighbour.
  const std::uint32_t bytes = ((positive | 0x80808080U) - negative) ^ 0x80808080U;
  const auto byte = [&](unsigned i) { return static_cast<int>(static_cast<std::int8_t>(bytes >> 8U * i)); };
  return {{byte(0), byte(1), byte(2), byte(3)}};
}

// Of four rows' scales, floats of 8 bits, a sixteenth.
WKV_DEVICE Floats4 sixteenths_of_scales(std::uint32_t scales) {
  constexpr std::uint32_t kLeast = std::uint32_t{kInt4LeastScaleBits} - (4U << 23U);
  const auto scale = [&](unsigned i) {
    return float_of(((scales >> 8U * i & 0xffU) << unsigned{kInt4ScaleShift}) + kLeast);
  };
  return {scale(0), scale(1), scale(2), scale(3)};
}

// sums += 16 * multipliers * weights * codes of a unit; `codes_of(tile)` is the lane's word of a tile's.
template <int kTiles, class CodesOf>
WKV_DEVICE void multiply_int4_unit(TileSums<kTiles>& sums, const Words2& weights, std::uint32_t indices,
                                   CodesOf codes_of) {
  constexpr std::uint32_t kHighHalves = 0xf0f0f0f0U;
  const Multipliers multipliers = multipliers_of(indices);
  const Words2 rows[2] = {{weights.x << 4U & kHighHalves, weights.y << 4U & kHighHalves},
                          {weights.x & kHighHalves, weights.y & kHighHalves}};
  WKV_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    const std::uint32_t codes = codes_of(tile);
    WKV_UNROLL
    for (int product = 0; product < 2; ++product) {
      std::int32_t products[4];
      multiply_unit(products, rows[product], codes);
      WKV_UNROLL
      for (int i = 0; i < 4; ++i) sums[tile][product][i] += multipliers.of[2 * product + i / 2] * products[i];
    }
  }
}

// What a thread copies for a stage, sixteen bytes at a time: pieces of a panel's codes and multipliers, and
// of a tile; and perhaps one of what Shared::Group has.
template <class Shared, int kPanels, int kAllTiles>
struct Int4Copies {
  static constexpr int kPanelPieces = kStageUnits * kInt4UnitBytes / 16;
  static constexpr int kMultiplierPieces = kStagePairs * kMultiplierBytes / 16;
  static constexpr int kScalesPieces = kInt8PanelRows / 16;
  static constexpr int kGroupPieces = kPanels * kScalesPieces;
  static constexpr int kTokenPieces = kAllTiles * kTileTokens / 4;
  static constexpr int kFirstOfMultipliers = kGemmThreads - kPanels * kMultiplierPieces;
  static_assert(kPanels * kPanelPieces <= kGemmThreads && kGroupPieces + kTokenPieces <= kFirstOfMultipliers);

  const unsigned char* weights;
  TileCopies<kStageUnits, kAllTiles> codes;
  // Of a thread that copies multipliers, or one that copies what Shared::Group has.
  const unsigned char* others;
  unsigned step;  // of `others`

  WKV_DEVICE Int4Copies(const QuantizedProduct& product, const Cut& cut, int first_panel, int first_token)
      : codes(product.x, cut, first_token) {
    const QuantizedTokens& x = product.x;
    const int thread = thread_index();
    const auto panel_at = [&](int panel) { return panel_of(product, cut, first_panel, panel); };
    weights = panel_at(thread / kPanelPieces) + thread % kPanelPieces * 16;
    if (thread < kGroupPieces) {
      others = panel_at(thread / kScalesPieces) + int4_scales_offset(cut) + thread % kScalesPieces * 16;
      step = kInt8PanelRows;
    } else if (thread < kFirstOfMultipliers) {
      others = reinterpret_cast<const unsigned char*>(x.scales + first_token + (thread - kGroupPieces) * 4);
      step = static_cast<unsigned>(x.stride) * static_cast<unsigned>(sizeof(float));
    } else {
      const int piece = thread - kFirstOfMultipliers;
      others =
          panel_at(piece / kMultiplierPieces) + int4_multipliers_offset(cut) + piece % kMultiplierPieces * 16;
      step = kStagePairs * kMultiplierBytes;
    }
  }

  WKV_DEVICE void begin(typename Shared::Stage& stage) {
    const int thread = thread_index();
    if (thread < kPanels * kPanelPieces) {
      begin_copy(&stage.weights.codes[0][0][0] + thread, weights);
    }
    if (thread >= kFirstOfMultipliers) {
      begin_copy(&stage.weights.multipliers[0][0] + (thread - kFirstOfMultipliers), others);
      others += step;
    }
    codes.begin(stage.codes);
    weights += kStageUnits * kInt4UnitBytes;
    codes.advance();
  }
  WKV_DEVICE void begin(typename Shared::Group& group) {
    const int thread = thread_index();
    if (thread < kGroupPieces + kTokenPieces) {
      begin_copy(reinterpret_cast<Words4*>(&group) + thread, others);
      others += step;
    }
  }
  WKV_DEVICE void end_group() {}
};

struct Int4Weights {
  WKV_DEVICE static Cut cut_of(const QuantizedTokens& x) { return int4_cut_of(x.columns, x.group); }

  // Of few tokens: up to two units of a panel, and the multipliers of up to two pairs that they belong to.
  struct Pair {
    Words4 codes[2][kInt4UnitBytes / 16];
    Words4 multipliers[2][kMultiplierBytes / 16];
  };
  WKV_DEVICE static void begin(Pair& pair, const Cut& cut, const unsigned char* panel,
                               const unsigned char* codes, int group, int unit) {
    const int lane = thread_index() % kWarp;
    const int units = unit + 1 < cut.units_of(group) ? 2 : 1;
    constexpr int kUnitPieces = kInt4UnitBytes / 16;
    static_assert(2 * kUnitPieces == kWarp);
    if (lane / kUnitPieces < units) {
      begin_copy(&pair.codes[0][0] + lane, codes + unit * kInt4UnitBytes + lane * 16);
    }
    const int first = group * cut.in_group + unit;  // among all units of the row
    const int pairs = (first + units - 1) / 2 - first / 2 + 1;
    constexpr int kPieces = kMultiplierBytes / 16;
    if (lane < pairs * kPieces) {
      begin_copy(&pair.multipliers[0][0] + lane,
                 panel + int4_multipliers_offset(cut) + first / 2 * kMultiplierBytes + lane * 16);
    }
  }
  // A sixteenth of the scales of a lane's four rows in a group.
  WKV_DEVICE static Floats4 scales_of(const Cut& cut, int group, const unsigned char* panel) {
    if (group >= cut.groups) return {};
    return sixteenths_of_scales(*reinterpret_cast<const std::uint32_t*>(
        panel + int4_scales_offset(cut) + group * kInt8PanelRows + thread_index() % kWarp / 4 * 4));
  }
  template <int kTiles>
  WKV_DEVICE static void multiply(TileSums<kTiles>& sums, const Pair& weights, const PairCodes<kTiles>& codes,
                                  const Cut& cut, int group, int unit, bool pair) {
    const int lane = thread_index() % kWarp;
    const int first = (group * cut.in_group + unit) % 2;  // in its pair
    const auto* const words = reinterpret_cast<const std::uint32_t*>(&weights.multipliers[0][0]);
    const auto multiply_one = [&](int i) {
      const int place = first + i;
      const std::uint32_t both = words[place / 2 * kMultiplierWords + lane / 4];
      multiply_int4_unit<kTiles>(sums, reinterpret_cast<const Words2*>(&weights.codes[i][0])[lane],
                                 place % 2 == 0 ? both : both >> 16U,
                                 [&](int tile) { return codes[tile][i][lane]; });
    };
    // One after the other: registers.
    WKV_KEEP_LOOP
    for (int i = 0; i < (pair ? 2 : 1); ++i) multiply_one(i);
  }

  // Of many tokens.
  static constexpr int kMaxGroupOfMany = kMaxInt4Group;
  WKV_DEVICE static float number_of(std::int32_t sum) { return static_cast<float>(sum); }
  template <int kPanels>
  struct Stage {
    Words4 codes[static_cast<std::size_t>(kPanels)][kStageUnits][kInt4UnitBytes / 16];
    Words4 multipliers[static_cast<std::size_t>(kPanels)][kStagePairs * kMultiplierBytes / 16];
  };
  template <int kPanels>
  using Scales = std::uint32_t[static_cast<std::size_t>(kPanels)][kInt8PanelRows / 4];
  template <class Shared, int kPanels, int kAllTiles>
  using Copies = Int4Copies<Shared, kPanels, kAllTiles>;

  template <int kPanels>
  WKV_DEVICE static Floats4 scales_of(const Scales<kPanels>& scales, int panel, int row) {
    return sixteenths_of_scales(scales[panel][row]);
  }
  template <bool kFirst, int kTiles, class ManyStage>
  WKV_DEVICE static void multiply_stage(TileSums<kTiles>& sums, const ManyStage& stage, int panel,
                                        int first_tile) {
    if constexpr (kFirst) {
      WKV_UNROLL
      for (auto& of_tile : sums) {
        for (auto& of_product : of_tile) {
          for (std::int32_t& sum : of_product) sum = 0;
        }
      }
    }
    static_assert(kTiles % 2 == 0);
    const int lane = thread_index() % kWarp;
    const auto* const words = reinterpret_cast<const std::uint32_t*>(&stage.weights.multipliers[panel][0]);
    // One pair of units after the other: registers.
    WKV_KEEP_LOOP
    for (int pair = 0; pair < kStagePairs; ++pair) {
      Words4 codes[static_cast<std::size_t>(kTiles / 2)];  // of two tiles each, both units
      WKV_UNROLL
      for (int tile = 0; tile < kTiles; tile += 2) {
        codes[tile / 2] =
            load_rows(&stage.codes[first_tile + tile + lane / 16][2 * pair + lane / 8 % 2][lane % 8]);
      }
      const std::uint32_t multipliers = words[pair * kMultiplierWords + lane / 4];
      const auto weights_of = [&](int unit) {
        return reinterpret_cast<const Words2*>(&stage.weights.codes[panel][2 * pair + unit][0])[lane];
      };
      multiply_int4_unit<kTiles>(sums, weights_of(0), multipliers, [&](int tile) {
        return tile % 2 == 0 ? codes[tile / 2].x : codes[tile / 2].z;
      });
      multiply_int4_unit<kTiles>(sums, weights_of(1), multipliers >> 16U, [&](int tile) {
        return tile % 2 == 0 ? codes[tile / 2].y : codes[tile / 2].w;
      });
    }
  }
};

}  // namespace wkv::cuda
