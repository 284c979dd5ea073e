#pragma once

// For many tokens on GPUs whose warpgroups, four warps, multiply together (wgmma, sm_90a): a block of two
// warpgroups computes 128 rows for kTokens tokens, each of them two panels. The tensor cores read weights and
// activations themselves from shared memory, in the order that both have in memory, and compute while the
// warpgroup adds the group before to its totals.
//
// A group, of 64 kPairs columns, comes in two stages. Of kWideStages stages in shared memory two may be read,
// the others are on their way. What limits it is the second-level cache: a stage is as many bytes for 64
// tokens as for 128 but for a quarter.

#include "kernels/cuda/wide_products.cuh"
#include "kernels/gemm_int8/cuda_many.cuh"

namespace wkv::cuda {

constexpr int kWidePanels = 4;
constexpr int kWideRows = kWidePanels * kInt8PanelRows;
constexpr int kWideStages = 6;

template <int kPairs, int kTokens>
struct WideShared {
  static constexpr int kTiles = kTokens / kTileTokens;
  static constexpr int kUnits = 2 * kPairs;
  static constexpr int kGroups = kWideStages / 2 + 1;
  struct Stage {
    Words4 weights[static_cast<std::size_t>(kUnits)][kWidePanels][kInt8PanelRows];
    Words4 codes[static_cast<std::size_t>(kTiles)][static_cast<std::size_t>(kUnits)][kTileTokens];
  };
  struct Group {
    Floats4 scales[kWidePanels][kInt8PanelRows / 4];
    Floats2 x_scales[static_cast<std::size_t>(kTokens / 2)];
  };
  Stage stages[kWideStages];
  Group groups[static_cast<std::size_t>(kGroups)];
};

// What a thread of a warpgroup computes: the sums of two rows, for two tokens of each tile.
template <int kPairs, int kTokens>
struct WideSums {
  using Shared = WideShared<kPairs, kTokens>;
  static constexpr int kTiles = Shared::kTiles;

  float total[static_cast<std::size_t>(kTiles)][4] = {};   // as products have them
  std::int32_t sums[static_cast<std::size_t>(kTiles)][4];  // that are computed
  float before[static_cast<std::size_t>(kTiles)][4];       // of the last group
  int row = thread_index() % kWarp / 4;
  int quad = thread_index() % 4;
  int panel = thread_index() / kWarp / 2;
  int half = thread_index() / kWarp % 2;  // of its rows

  // Begins the products of a stage, the first or the second of a group.
  WKV_DEVICE void multiply(const typename Shared::Stage& stage, bool first) {
    const SharedMatrix weights = shared_matrix(stage.weights[0][panel / 2 * 2], kWideRows, kTileTokens);
    const SharedMatrix codes = shared_matrix(stage.codes[0][0], kTileTokens, Shared::kUnits * kTileTokens);
    begin_products();
    WKV_UNROLL
    for (int pair = 0; pair < kPairs; ++pair) {
      multiply_wide<kTokens>(sums, weights.from_row(2 * pair * kWideRows),
                             codes.from_row(2 * pair * kTileTokens), !first || pair > 0);
    }
    commit_products();
  }
  // To be called once a group's products are there.
  WKV_DEVICE void keep() {
    WKV_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      receive(sums[tile]);
      WKV_UNROLL
      for (int i = 0; i < 4; ++i) before[tile][i] = static_cast<float>(sums[tile][i]);
    }
  }
  // Adds what was kept, of this group.
  WKV_DEVICE void add(const typename Shared::Group& group) {
    const Floats2 scales = reinterpret_cast<const Floats2*>(&group.scales[panel][row])[half];
    WKV_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      const Floats2 x_scales = group.x_scales[tile * (kTileTokens / 2) + quad];
      float(&sum)[4] = total[tile];
      sum[0] = fused(before[tile][0] * scales.x, x_scales.x, sum[0]);
      sum[1] = fused(before[tile][1] * scales.x, x_scales.y, sum[1]);
      sum[2] = fused(before[tile][2] * scales.y, x_scales.x, sum[2]);
      sum[3] = fused(before[tile][3] * scales.y, x_scales.y, sum[3]);
    }
  }
  WKV_DEVICE void put(const QuantizedProduct& product, int first_token, int tokens, int first_panel) const {
    TileRows<kTiles, 2> rows;
    WKV_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      const float(&sum)[4] = total[tile];
      rows[tile][0] = {{sum[0], sum[2]}};
      rows[tile][1] = {{sum[1], sum[3]}};
    }
    put_rows<kTiles, 2>(product, first_token + quad * 2, tokens,
                        (first_panel + panel) * kInt8PanelRows + row * 4 + half * 2, rows);
  }
};

template <int kPairs, int kTokens>
WKV_DEVICE void gemm_int8_wide(const GemmLaunch& a) {
  using Shared = WideShared<kPairs, kTokens>;
  Shared& shared = shared_memory<Shared>();
  const int index = product_of(a, block_y());
  const QuantizedProduct& product = a.all.products[index];
  const Cut cut = cut_of(product.x);
  const int first_panel = (block_y() - a.first_block[index]) * kWidePanels;
  const int first_token = block_x() * kTokens;

  ManyCopies<Shared, kWidePanels, kPairs, Shared::kTiles> copies{product, cut, first_panel, first_token};
  const int stages = cut.groups * 2;
  int begun = 0;
  int begun_slot = 0;
  int begun_group = 0;
  const auto begin_next = [&] {
    if (begun < stages) {
      if (begun % 2 == 0) copies.begin(shared.groups[begun_group]);
      copies.begin(shared.stages[begun_slot]);
      if (begun % 2 == 1) {
        copies.end_group();
        begun_group = after<Shared::kGroups>(begun_group);
      }
      begun_slot = after<kWideStages>(begun_slot);
      ++begun;
    }
    commit_copies();
  };
  for (int i = 0; i < kWideStages - 2; ++i) begin_next();

  WideSums<kPairs, kTokens> sums;
  int slot = 0;
  int place_of_group = 0;
  const typename Shared::Stage* stage = nullptr;
  // The next stage is there; the one before the last one is free, as its products are complete.
  const auto next_stage = [&] {
    wait_copies<kWideStages - 3>();
    fence_proxy_async();
    sync_block();
    begin_next();
    stage = &shared.stages[slot];
    slot = after<kWideStages>(slot);
  };
  const auto add_before = [&] {
    sums.add(shared.groups[place_of_group]);
    place_of_group = after<Shared::kGroups>(place_of_group);
  };
  next_stage();
  WKV_KEEP_LOOP
  for (int number = 0; number < cut.groups; ++number) {
    sums.multiply(*stage, true);
    if (number > 0) add_before();
    next_stage();
    sums.multiply(*stage, false);
    wait_products<1>();
    if (number + 1 < cut.groups) next_stage();
    wait_products<0>();
    sums.keep();
  }
  add_before();
  sums.put(product, first_token, a.all.tokens, first_panel);
}

template <int kPairs, int kTokens>
WKV_KERNEL(kGemmThreads, 1)
gemm_int8_wide_kernel(WKV_ARGUMENTS GemmLaunch a) {
  begin_next_kernel();
  await_previous_kernel();
  if constexpr (kHasWideProducts) gemm_int8_wide<kPairs, kTokens>(a);
}

}  // namespace wkv::cuda
