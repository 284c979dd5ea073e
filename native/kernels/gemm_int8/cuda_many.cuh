#pragma once

// For many tokens, where products take longer than weights come from memory: a block computes kPanels panels
// for kParts * kTiles tiles of tokens, each of its eight warps one panel for kTiles of them. kStages stages
// of 64 columns are in shared memory: one that is multiplied, the others on their way.
//
// Groups must be of whole stages, and of at most kMaxGroupOfMany columns, so that a group's sum is below
// 2^22 in size: begun at 1.5 * 2^23 as a float's bits, it becomes a float by one subtraction.

#include <type_traits>

#include "kernels/gemm_int8/cuda_product.cuh"

namespace wkv::cuda {

constexpr int kStageUnits = 4;
constexpr int kStagePairs = kStageUnits / 2;
constexpr int kStageColumns = kStageUnits * kUnitColumns;
constexpr int kMaxGroupOfMany = 256;

template <int kPanels, int kParts, int kTiles, int kStages>
struct ManyShared {
  static_assert(kPanels * kParts == kGemmWarps);
  static constexpr int kAllTiles = kParts * kTiles;
  static constexpr int kTokens = kAllTiles * kTileTokens;

  struct Stage {
    Words4 weights[kStageUnits][static_cast<std::size_t>(kPanels)][kInt8PanelRows];
    Words4 codes[static_cast<std::size_t>(kAllTiles)][kStageUnits][kTileTokens];
  };
  struct Group {
    Floats4 scales[static_cast<std::size_t>(kPanels)][kInt8PanelRows / 4];
    Floats2 x_scales[static_cast<std::size_t>(kTokens / 2)];
  };
  Stage stages[static_cast<std::size_t>(kStages)];
  Group groups[static_cast<std::size_t>(kStages)];
};

// The next number of a ring.
template <int kSize>
WKV_DEVICE int after(int place) {
  return place + 1 == kSize ? 0 : place + 1;
}

// What a thread copies, sixteen bytes at a time: pieces of one panel and of one tile, and perhaps one of what
// Shared::Group has.
template <class Shared, int kPanels, int kPairs, int kAllTiles>
struct ManyCopies {
  static constexpr int kUnits = 2 * kPairs;
  static constexpr int kOfPanel = kGemmThreads / kPanels;  // threads
  static constexpr int kPanelPieces = kUnits * kUnitBytes / 16;
  static constexpr int kOfTile = kGemmThreads / kAllTiles;
  static constexpr int kTilePieces = kUnits * kUnitCodes / 16;
  static constexpr int kScalesPieces = kScalesBytes / 16;
  static constexpr int kGroupPieces = kPanels * kScalesPieces;
  static constexpr int kTokenPieces = kAllTiles * kTileTokens / 4;
  static_assert(kPanelPieces % kOfPanel == 0 && kTilePieces % kOfTile == 0 &&
                kGroupPieces + kTokenPieces <= kGemmThreads);

  const unsigned char* weights;
  const unsigned char* codes;
  const unsigned char* numbers;
  unsigned numbers_step;  // to the next group

  WKV_DEVICE ManyCopies(const Int8Product& product, const Cut& cut, int first_panel, int first_token) {
    const QuantizedTokens& x = product.x;
    const int thread = thread_index();
    // Behind the last panel, the last one again.
    const int last = (product.rows - 1) / kInt8PanelRows - first_panel;
    const auto panel_at = [&](int panel) {
      return product.panels + (first_panel + (panel < last ? panel : last)) * cut.panel_bytes;
    };
    weights = panel_at(thread / kOfPanel) + thread % kOfPanel * 16;
    codes = reinterpret_cast<const unsigned char*>(x.codes) +
            (first_token / kTileTokens + thread / kOfTile) * cut.tile_bytes + thread % kOfTile * 16;
    if (thread < kGroupPieces) {
      numbers = panel_at(thread / kScalesPieces) + cut.in_group * kUnitBytes + thread % kScalesPieces * 16;
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
    Words4* const to_codes = &stage.codes[thread / kOfTile][0][0] + thread % kOfTile;
    WKV_UNROLL
    for (int i = 0; i < kTilePieces; i += kOfTile) begin_copy(to_codes + i, codes + i * 16);
    weights += kUnits * kUnitBytes;
    codes += kUnits * kUnitCodes;
  }
  WKV_DEVICE void begin(typename Shared::Group& group) {
    if (thread_index() < kGroupPieces + kTokenPieces) {
      begin_copy(reinterpret_cast<Words4*>(&group) + thread_index(), numbers);
    }
    numbers += numbers_step;
  }
  // To be called after a group's last stage.
  WKV_DEVICE void skip_scales() { weights += kScalesBytes; }
};

template <int kTiles>
using TileSums = std::int32_t[static_cast<std::size_t>(kTiles)][2][4];  // of two products

// sums (+)= weights * codes for a stage; the first stage of a group begins the sums.
template <bool kFirst, int kTiles, class Stage>
WKV_DEVICE void multiply_stage(TileSums<kTiles>& sums, const Stage& stage, int panel, int first_tile) {
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

// kBlocks have to find room on a processor at once.
template <int kPanels, int kParts, int kTiles, int kStages, int kBlocks>
WKV_KERNEL(kGemmThreads, kBlocks)
gemm_int8_many_kernel(WKV_ARGUMENTS GemmLaunch a) {
  using Shared = ManyShared<kPanels, kParts, kTiles, kStages>;
  Shared& shared = shared_memory<Shared>();
  const Int8Product& product = a.all.products[product_of(a, block_y())];
  const Cut cut = cut_of(product.x);
  const int first_panel = (block_y() - a.first_block[product_of(a, block_y())]) * kPanels;
  const int first_token = block_x() * Shared::kTokens;
  const int in_group = cut.in_group / kStageUnits;  // stages
  const int lane = thread_index() % kWarp;
  const int row = lane / 4;
  const int quad = lane % 4;
  const int panel = thread_index() / kWarp % kPanels;
  const int first_tile = thread_index() / kWarp / kPanels * kTiles;

  begin_next_kernel();
  await_previous_kernel();
  ManyCopies<Shared, kPanels, kStagePairs, Shared::kAllTiles> copies{product, cut, first_panel, first_token};
  int groups_left = cut.groups;  // to begin
  int begun_in_group = 0;
  int begun_group = 0;  // in the ring
  const auto begin_next = [&](int slot) {
    if (groups_left > 0) {
      if (begun_in_group == 0) copies.begin(shared.groups[begun_group]);
      copies.begin(shared.stages[slot]);
      if (++begun_in_group == in_group) {
        begun_in_group = 0;
        begun_group = after<kStages>(begun_group);
        copies.skip_scales();
        --groups_left;
      }
    }
    commit_copies();
  };
  for (int i = 0; i < kStages - 1; ++i) begin_next(i);

  float total[static_cast<std::size_t>(kTiles)][2][4] = {};  // of two tokens and four rows
  TileSums<kTiles> sums;
  int slot = 0;
  int place_of_group = 0;
  WKV_KEEP_LOOP
  for (int number = 0; number < cut.groups; ++number) {
    const typename Shared::Group& group = shared.groups[place_of_group];
    place_of_group = after<kStages>(place_of_group);
    const auto next_stage = [&](auto first) {
      wait_copies<kStages - 2>();
      sync_block();
      begin_next(slot == 0 ? kStages - 1 : slot - 1);
      const typename Shared::Stage& stage = shared.stages[slot];
      slot = after<kStages>(slot);
      multiply_stage<first.value, kTiles>(sums, stage, panel, first_tile);
    };
    next_stage(std::true_type{});
    WKV_KEEP_LOOP
    for (int step = 1; step < in_group; ++step) next_stage(std::false_type{});
    const Floats4 scales = group.scales[panel][row];
    WKV_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      const Floats2 x_scales = group.x_scales[(first_tile + tile) * (kTileTokens / 2) + quad];
      WKV_UNROLL
      for (int token = 0; token < 2; ++token) {
        const float x_scale = token == 0 ? x_scales.x : x_scales.y;
        const std::int32_t(&of)[2][4] = sums[tile];
        float(&sum)[4] = total[tile][token];
        sum[0] = fused(integer_of(of[0][token]) * scales.x, x_scale, sum[0]);
        sum[1] = fused(integer_of(of[0][2 + token]) * scales.y, x_scale, sum[1]);
        sum[2] = fused(integer_of(of[1][token]) * scales.z, x_scale, sum[2]);
        sum[3] = fused(integer_of(of[1][2 + token]) * scales.w, x_scale, sum[3]);
      }
    }
  }

  TileRows<kTiles, 4> rows;
  WKV_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    WKV_UNROLL
    for (int token = 0; token < 2; ++token) {
      const float(&sum)[4] = total[tile][token];
      rows[tile][token] = {{sum[0], sum[1], sum[2], sum[3]}};
    }
  }
  const int thread = anew(thread_index());
  const int index = product_of(a, anew(block_y()));
  const int token =
      block_x() * Shared::kTokens + thread / kWarp / kPanels * kTiles * kTileTokens + thread % 4 * 2;
  const int output_panel = (anew(block_y()) - a.first_block[index]) * kPanels + thread / kWarp % kPanels;
  put_rows<kTiles, 4>(a.all.products[index], token, a.all.tokens,
                      output_panel * kInt8PanelRows + thread % kWarp / 4 * 4, rows);
}

}  // namespace wkv::cuda
