#pragma once

// Weights of 8 bits, as the kernels for few and for many tokens take them: what they copy to shared memory,
// and how it is multiplied there. kernels/gemm_int4/cuda_weights.cuh has the same of 4 bits.

#include "kernels/gemm_int8/cuda_product.cuh"

namespace wkv::cuda {

// Of the kernel for many tokens: units that are copied together.
constexpr int kStageUnits = 4;
constexpr int kStagePairs = kStageUnits / 2;
constexpr int kStageColumns = kStageUnits * kUnitColumns;

// The sums of 32 rows for kTiles tiles: of two products, 16 rows each.
template <int kTiles>
using TileSums = std::int32_t[static_cast<std::size_t>(kTiles)][2][4];
// The codes of some tiles, of two units, as products take them.
template <int kTiles>
using PairCodes = std::uint32_t[static_cast<std::size_t>(kTiles)][2][kWarp];

// One of the panels of a block, which begins with the panel `first`; behind the last one, the last one again.
WKV_DEVICE const unsigned char* panel_of(const QuantizedProduct& product, const Cut& cut, int first,
                                         int panel) {
  const int last = (product.rows - 1) / kInt8PanelRows - first;
  return product.panels + (first + (panel < last ? panel : last)) * cut.panel_bytes;
}

// What a thread copies of the codes of tiles, sixteen bytes at a time: pieces of one tile.
template <int kUnits, int kAllTiles>
struct TileCopies {
  static constexpr int kOfTile = kGemmThreads / kAllTiles;  // threads
  static constexpr int kPieces = kUnits * kUnitCodes / 16;
  static_assert(kPieces % kOfTile == 0);

  const unsigned char* at;

  WKV_DEVICE TileCopies(const QuantizedTokens& x, const Cut& cut, int first_token)
      : at(reinterpret_cast<const unsigned char*>(x.codes) +
           (first_token / kTileTokens + thread_index() / kOfTile) * cut.tile_bytes +
           thread_index() % kOfTile * 16) {}

  template <class Codes>
  WKV_DEVICE void begin(Codes& codes) const {
    Words4* const to = &codes[thread_index() / kOfTile][0][0] + thread_index() % kOfTile;
    WKV_UNROLL
    for (int i = 0; i < kPieces; i += kOfTile) begin_copy(to + i, at + i * 16);
  }
  WKV_DEVICE void advance() { at += kUnits * kUnitCodes; }
};

// What a thread copies, sixteen bytes at a time: pieces of one panel and of one tile, and perhaps one of what
// Shared::Group has.
template <class Shared, int kPanels, int kPairs, int kAllTiles>
struct ManyCopies {
  static constexpr int kUnits = 2 * kPairs;
  static constexpr int kOfPanel = kGemmThreads / kPanels;  // threads
  static constexpr int kPanelPieces = kUnits * kUnitBytes / 16;
  static constexpr int kScalesPieces = kScalesBytes / 16;
  static constexpr int kGroupPieces = kPanels * kScalesPieces;
  static constexpr int kTokenPieces = kAllTiles * kTileTokens / 4;
  static_assert(kPanelPieces % kOfPanel == 0 && kGroupPieces + kTokenPieces <= kGemmThreads);

  const unsigned char* weights;
  TileCopies<kUnits, kAllTiles> codes;
  const unsigned char* numbers;
  unsigned numbers_step;  // to the next group

  WKV_DEVICE ManyCopies(const QuantizedProduct& product, const Cut& cut, int first_panel, int first_token)
      : weights(panel_of(product, cut, first_panel, thread_index() / kOfPanel) +
                thread_index() % kOfPanel * 16),
        codes(product.x, cut, first_token) {
    const QuantizedTokens& x = product.x;
    const int thread = thread_index();
    if (thread < kGroupPieces) {
      numbers = panel_of(product, cut, first_panel, thread / kScalesPieces) + cut.in_group * kUnitBytes +
                thread % kScalesPieces * 16;
      numbers_step = static_cast<unsigned>(cut.group_bytes);
    } else {
      numbers = reinterpret_cast<const unsigned char*>(x.scales + first_token + (thread - kGroupPieces) * 4);
      numbers_step = static_cast<unsigned>(x.stride) * static_cast<unsigned>(sizeof(float));
    }
  }

  WKV_DEVICE void begin(typename Shared::Stage& stage) {
    const int thread = thread_index();
    constexpr int kRows = kInt8PanelRows;
    static_assert(kOfPanel % kRows == 0);
    Words4* const to_weights = &stage.weights[thread % kOfPanel / kRows][thread / kOfPanel][thread % kRows];
    WKV_UNROLL
    for (int i = 0; i < kPanelPieces; i += kOfPanel) {
      begin_copy(to_weights + i * kPanels, weights + i * 16);
    }
    codes.begin(stage.codes);
    weights += kUnits * kUnitBytes;
    codes.advance();
  }
  WKV_DEVICE void begin(typename Shared::Group& group) {
    if (thread_index() < kGroupPieces + kTokenPieces) {
      begin_copy(reinterpret_cast<Words4*>(&group) + thread_index(), numbers);
    }
    numbers += numbers_step;
  }
  // To be called after a group's last stage.
  WKV_DEVICE void end_group() { weights += kScalesBytes; }
};

struct Int8Weights {
  WKV_DEVICE static Cut cut_of(const QuantizedTokens& x) { return cuda::cut_of(x.columns, x.group); }

  // Of few tokens: up to two units of a panel.
  struct Pair {
    Words4 rows[2][kInt8PanelRows];
  };
  // Those of a group, which begins at `codes`, from `unit` on.
  WKV_DEVICE static void begin(Pair& pair, const Cut& cut, const unsigned char*, const unsigned char* codes,
                               int group, int unit) {
    const int lane = thread_index() % kWarp;
    const unsigned char* const at = codes + unit * kUnitBytes + lane * 16;
    begin_copy(&pair.rows[0][lane], at);
    if (unit + 1 < cut.units_of(group)) begin_copy(&pair.rows[1][lane], at + kUnitBytes);
  }
  // The scales of a lane's four rows in a group.
  WKV_DEVICE static Floats4 scales_of(const Cut& cut, int group, const unsigned char* panel) {
    if (group >= cut.groups) return {};
    return *reinterpret_cast<const Floats4*>(
        panel + group * cut.group_bytes + cut.units_of(group) * kUnitBytes + thread_index() % kWarp / 4 * 16);
  }
  // sums += weights * codes, of one unit or two.
  template <int kTiles>
  WKV_DEVICE static void multiply(TileSums<kTiles>& sums, const Pair& weights, const PairCodes<kTiles>& codes,
                                  const Cut&, int, int, bool pair) {
    const int lane = thread_index() % kWarp;
    const Words4 first_rows = rows_of(weights, 0, pair);
    const Words4 last_rows = rows_of(weights, 1, pair);
    WKV_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      const std::uint32_t low_codes = codes[tile][0][lane];
      const std::uint32_t high_codes = pair ? codes[tile][1][lane] : 0;
      multiply_add(sums[tile][0], first_rows, low_codes, high_codes);
      multiply_add(sums[tile][1], last_rows, low_codes, high_codes);
    }
  }
  // A lane's weights for a product of 16 rows.
  WKV_DEVICE static Words4 rows_of(const Pair& weights, int product, bool pair) {
    const int lane = thread_index() % kWarp;
    // Without a second unit, the first one twice; what is multiplied with it is 0.
    return load_rows(&weights.rows[pair ? lane / 16 : 0][product * 16 + lane % 16]);
  }

  // Of many tokens. A group's sum is below 2^22 in size: begun at 1.5 * 2^23 as a float's bits, it becomes a
  // float by one subtraction.
  static constexpr int kMaxGroupOfMany = 256;
  WKV_DEVICE static float number_of(std::int32_t sum) { return integer_of(sum); }
  template <int kPanels>
  using Stage = Words4[kStageUnits][static_cast<std::size_t>(kPanels)][kInt8PanelRows];
  template <int kPanels>
  using Scales = Floats4[static_cast<std::size_t>(kPanels)][kInt8PanelRows / 4];
  template <class Shared, int kPanels, int kAllTiles>
  using Copies = ManyCopies<Shared, kPanels, kStagePairs, kAllTiles>;

  template <int kPanels>
  WKV_DEVICE static Floats4 scales_of(const Scales<kPanels>& scales, int panel, int row) {
    return scales[panel][row];
  }
  // sums (+)= weights * codes for a stage; the first stage of a group begins the sums.
  template <bool kFirst, int kTiles, class ManyStage>
  WKV_DEVICE static void multiply_stage(TileSums<kTiles>& sums, const ManyStage& stage, int panel,
                                        int first_tile) {
    const int lane = thread_index() % kWarp;
    Words4 weights[kStagePairs][2];
    WKV_UNROLL
    for (int pair = 0; pair < kStagePairs; ++pair) {
      WKV_UNROLL
      for (int product = 0; product < 2; ++product) {
        weights[pair][product] =
            load_rows(&stage.weights[2 * pair + lane / 16][panel][product * 16 + lane % 16]);
      }
    }
    WKV_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      const Words4 codes = load_rows(&stage.codes[first_tile + tile][0][0] + lane);
      WKV_UNROLL
      for (int product = 0; product < 2; ++product) {
        if constexpr (kFirst) {
          multiply_from(kFloatOfInteger, sums[tile][product], weights[0][product], codes.x, codes.y);
        } else {
          multiply_add(sums[tile][product], weights[0][product], codes.x, codes.y);
        }
        multiply_add(sums[tile][product], weights[1][product], codes.z, codes.w);
      }
    }
  }
};

}  // namespace wkv::cuda
