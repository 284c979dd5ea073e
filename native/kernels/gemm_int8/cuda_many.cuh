#pragma once

// For many tokens, where products take longer than weights come from memory: a block computes kPanels panels
// for kParts * kTiles tiles of tokens, each of its eight warps one panel for kTiles of them. kStages stages
// of 64 columns are in shared memory: one that is multiplied, the others on their way. Groups must be of
// whole stages, and of at most Weights::kMaxGroupOfMany columns.

#include <type_traits>

#include "kernels/gemm_int8/cuda_weights.cuh"

namespace wkv::cuda {

template <class Weights, int kPanels, int kParts, int kTiles, int kStages>
struct ManyShared {
  static_assert(kPanels * kParts == kGemmWarps);
  static constexpr int kAllTiles = kParts * kTiles;
  static constexpr int kTokens = kAllTiles * kTileTokens;

  struct Stage {
    typename Weights::template Stage<kPanels> weights;
    Words4 codes[static_cast<std::size_t>(kAllTiles)][kStageUnits][kTileTokens];
  };
  struct alignas(16) Group {
    typename Weights::template Scales<kPanels> scales;
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

// kBlocks have to find room on a processor at once.
template <class Weights, int kPanels, int kParts, int kTiles, int kStages, int kBlocks>
WKV_KERNEL(kGemmThreads, kBlocks)
gemm_many_kernel(WKV_ARGUMENTS GemmLaunch a) {
  using Shared = ManyShared<Weights, kPanels, kParts, kTiles, kStages>;
  Shared& shared = shared_memory<Shared>();
  const QuantizedProduct& product = a.all.products[product_of(a, block_y())];
  const Cut cut = Weights::cut_of(product.x);
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
  typename Weights::template Copies<Shared, kPanels, Shared::kAllTiles> copies{product, cut, first_panel,
                                                                               first_token};
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
        copies.end_group();
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
      Weights::template multiply_stage<first.value, kTiles>(sums, stage, panel, first_tile);
    };
    next_stage(std::true_type{});
    WKV_KEEP_LOOP
    for (int step = 1; step < in_group; ++step) next_stage(std::false_type{});
    const Floats4 scales = Weights::template scales_of<kPanels>(group.scales, panel, row);
    WKV_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      const Floats2 x_scales = group.x_scales[(first_tile + tile) * (kTileTokens / 2) + quad];
      WKV_UNROLL
      for (int token = 0; token < 2; ++token) {
        const float x_scale = token == 0 ? x_scales.x : x_scales.y;
        const std::int32_t(&of)[2][4] = sums[tile];
        float(&sum)[4] = total[tile][token];
        sum[0] = fused(Weights::number_of(of[0][token]) * scales.x, x_scale, sum[0]);
        sum[1] = fused(Weights::number_of(of[0][2 + token]) * scales.y, x_scale, sum[1]);
        sum[2] = fused(Weights::number_of(of[1][token]) * scales.z, x_scale, sum[2]);
        sum[3] = fused(Weights::number_of(of[1][2 + token]) * scales.w, x_scale, sum[3]);
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
