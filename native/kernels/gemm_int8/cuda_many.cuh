#pragma once

// For many tokens, where products take longer than weights come from memory: a block computes kPanels panels
// for kParts * kTiles tiles of tokens, each of its eight warps one panel for kTiles of them. Three stages of
// 64 columns are in shared memory: one that is multiplied, and two on their way.
//
// Groups must be of whole stages, and of at most kMostGroupOfMany columns, so that a group's sum is below
// 2^22 in size: begun at 1.5 * 2^23 as a float's bits, it becomes a float by one subtraction.

#include "kernels/gemm_int8/cuda_product.cuh"

namespace wkv::cuda {

constexpr int kStageUnits = 4;
constexpr int kStageColumns = kStageUnits * kUnitColumns;
constexpr int kMostGroupOfMany = 256;

// Where in a stage a piece of a unit lies, [quad][row]: so that eight lanes in a row, of two rows and four
// quads, read from different banks, and so do eight that write.
WKV_DEVICE int swizzled(int quad, int row) { return quad * 8 + ((row + quad * 2) & 7); }

template <int kPanels, int kParts, int kTiles>
struct ManyShared {
  static_assert(kPanels * kParts == kGemmWarps);
  static constexpr int kStages = 3;
  static constexpr int kAllTiles = kParts * kTiles;
  static constexpr int kTokens = kAllTiles * kTileTokens;

  struct Stage {
    Words4 weights[static_cast<std::size_t>(kPanels)][kStageUnits][kWarp];
    std::uint32_t codes[static_cast<std::size_t>(kAllTiles)][kStageUnits][kWarp];
  };
  struct Group {
    Floats4 scales[static_cast<std::size_t>(kPanels)][kInt8PanelRows / 4];
    Floats2 x_scales[static_cast<std::size_t>(kTokens / 2)];
    Integers2 offsets[static_cast<std::size_t>(kTokens / 2)];
  };
  Stage stages[kStages];
  Group groups[kStages];
};

// A block's way through the columns.
struct Stages {
  int in_group;  // stages
  int group;
  int stage;  // within the group

  WKV_DEVICE void advance() {
    if (++stage < in_group) return;
    stage = 0;
    ++group;
  }
};

// kBlocks have to find room on a processor at once.
template <int kPanels, int kParts, int kTiles, int kBlocks>
WKV_KERNEL(kGemmThreads, kBlocks)
gemm_int8_many(WKV_ARGUMENTS GemmLaunch a) {
  using Shared = ManyShared<kPanels, kParts, kTiles>;
  constexpr int kStages = Shared::kStages;
  Shared& shared = shared_memory<Shared>();
  const int index = product_of(a, block_y());
  const Int8Product& product = a.all.products[index];
  const QuantizedTokens& x = product.x;
  const Cut cut = cut_of(x);
  const int first_panel = (block_y() - a.first_block[index]) * kPanels;
  const int last_panel = (product.rows - 1) / kInt8PanelRows;
  const int first_token = block_x() * Shared::kTokens;
  const std::int8_t* const codes = x.codes + first_token / kTileTokens * cut.tile_bytes;
  const int lane = thread_index() % kWarp;
  const int row = lane / 4;
  const int quad = lane % 4;
  const int place = swizzled(quad, row);
  const int panel = thread_index() / kWarp % kPanels;
  const int first_tile = thread_index() / kWarp / kPanels * kTiles;

  const auto begin_stage = [&](int slot, const Stages& at) {
    if (at.group < cut.groups) {
      typename Shared::Stage& stage = shared.stages[slot];
      const std::ptrdiff_t within = at.group * cut.group_bytes + at.stage * kStageUnits * kUnitBytes;
      constexpr int kWords = kStageUnits * kWarp;
      for (int i = thread_index(); i < kPanels * kWords; i += kGemmThreads) {
        const int from = first_panel + i / kWords;
        begin_copy(&stage.weights[0][0][0] + i / 32 * 32 + swizzled(i / 8 % 4, i % 8),
                   product.panels + (from < last_panel ? from : last_panel) * cut.panel_bytes + within +
                       i % kWords * 16);
      }
      const std::ptrdiff_t unit =
          (static_cast<std::ptrdiff_t>(at.group) * at.in_group + at.stage) * kStageUnits;
      constexpr int kTileWords = kStageUnits * kUnitCodes / 16;
      auto* const to = reinterpret_cast<Words4*>(&stage.codes[0][0][0]);
      for (int i = thread_index(); i < Shared::kAllTiles * kTileWords; i += kGemmThreads) {
        begin_copy(to + i, reinterpret_cast<const unsigned char*>(codes) + i / kTileWords * cut.tile_bytes +
                               unit * kUnitCodes + i % kTileWords * 16);
      }
      if (at.stage == 0) {
        typename Shared::Group& group = shared.groups[at.group % kStages];
        constexpr int kScaleWords = kScalesBytes / 16;
        constexpr int kTokenWords = Shared::kTokens / 4;
        const std::ptrdiff_t token = static_cast<std::ptrdiff_t>(at.group) * x.stride + first_token;
        for (int i = thread_index(); i < kPanels * kScaleWords; i += kGemmThreads) {
          const int from = first_panel + i / kScaleWords;
          begin_copy(reinterpret_cast<Words4*>(&group.scales[0][0]) + i,
                     product.panels + (from < last_panel ? from : last_panel) * cut.panel_bytes +
                         at.group * cut.group_bytes + cut.in_group * kUnitBytes + i % kScaleWords * 16);
        }
        for (int i = thread_index(); i < kTokenWords; i += kGemmThreads) {
          begin_copy(reinterpret_cast<Words4*>(&group.x_scales[0]) + i,
                     reinterpret_cast<const unsigned char*>(x.scales + token + i * 4));
          begin_copy(reinterpret_cast<Words4*>(&group.offsets[0]) + i,
                     reinterpret_cast<const unsigned char*>(x.offsets + token + i * 4));
        }
      }
    }
    commit_copies();
  };

  begin_next_kernel();
  await_previous_kernel();
  Stages next{cut.in_group / kStageUnits, 0, 0};
  for (int i = 0; i < kStages - 1; ++i, next.advance()) begin_stage(i, next);

  int slot = 0;
  float total[static_cast<std::size_t>(kTiles)][2][4] = {};  // of two tokens and four rows
  std::int32_t sums[static_cast<std::size_t>(kTiles)][2][4];
  for (int number = 0; number < cut.groups; ++number) {
    const typename Shared::Group& group = shared.groups[number % kStages];
    for (int step = 0; step < next.in_group; ++step) {
      wait_copies<kStages - 2>();
      sync_block();
      begin_stage(slot == 0 ? kStages - 1 : slot - 1, next);
      next.advance();
      if (step == 0) {
        WKV_UNROLL
        for (int tile = 0; tile < kTiles; ++tile) {
          const Integers2 offsets = group.offsets[(first_tile + tile) * (kTileTokens / 2) + quad];
          WKV_UNROLL
          for (int half = 0; half < 2; ++half) {
            sums[tile][half][0] = sums[tile][half][2] = offsets.x + kFloatOfInteger;
            sums[tile][half][1] = sums[tile][half][3] = offsets.y + kFloatOfInteger;
          }
        }
      }
      const typename Shared::Stage& stage = shared.stages[slot];
      WKV_UNROLL
      for (int unit = 0; unit < kStageUnits; unit += 2) {
        const Words4 low = stage.weights[panel][unit][place];
        const Words4 high = stage.weights[panel][unit + 1][place];
        WKV_UNROLL
        for (int tile = 0; tile < kTiles; ++tile) {
          const std::uint32_t low_codes = stage.codes[first_tile + tile][unit][lane];
          const std::uint32_t high_codes = stage.codes[first_tile + tile][unit + 1][lane];
          multiply_add(sums[tile][0], low.x, low.y, high.x, high.y, low_codes, high_codes);
          multiply_add(sums[tile][1], low.z, low.w, high.z, high.w, low_codes, high_codes);
        }
      }
      slot = slot + 1 == kStages ? 0 : slot + 1;
    }
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

  const int output_row = (first_panel + panel) * kInt8PanelRows + row * 4;
  const bool whole = product.rows % 4 == 0;
  WKV_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    WKV_UNROLL
    for (int token = 0; token < 2; ++token) {
      const int at = first_token + (first_tile + tile) * kTileTokens + quad * 2 + token;
      if (at >= a.all.tokens) continue;
      const std::ptrdiff_t output = static_cast<std::ptrdiff_t>(at) * product.rows + output_row;
      const float(&sum)[4] = total[tile][token];
      if (whole) {
        if (output_row < product.rows) {
          *reinterpret_cast<Floats4*>(product.output + output) = {
              finished(product, output, sum[0]), finished(product, output + 1, sum[1]),
              finished(product, output + 2, sum[2]), finished(product, output + 3, sum[3])};
        }
        continue;
      }
      WKV_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (output_row + i < product.rows) product.output[output + i] = finished(product, output + i, sum[i]);
      }
    }
  }
}

}  // namespace wkv::cuda
