#pragma once

// For many tokens, where products take longer than weights come from memory: a block computes kPanels panels
// for kParts * kTiles tiles of tokens, each of its eight warps one panel for kTiles of them. kStages stages
// of 64 columns are in shared memory: one that is multiplied, the others on their way.
//
// A product takes two rows of each of two units, eight bytes of each. Which two of a lane's four rows the
// first product takes depends on the lane, so that sixteen lanes read from different banks: rows 4 row + 2 h
// and the next, h being row / 2 % 2, and the second product the others.
//
// Groups must be of whole stages, and of at most kMostGroupOfMany columns, so that a group's sum is below
// 2^22 in size: begun at 1.5 * 2^23 as a float's bits, it becomes a float by one subtraction.

#include "kernels/gemm_int8/cuda_product.cuh"

namespace wkv::cuda {

constexpr int kStageUnits = 4;
constexpr int kStageColumns = kStageUnits * kUnitColumns;
constexpr int kMostGroupOfMany = 256;

template <int kPanels, int kParts, int kTiles, int kStages>
struct ManyShared {
  static_assert(kPanels * kParts == kGemmWarps);
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
  Stage stages[static_cast<std::size_t>(kStages)];
  Group groups[static_cast<std::size_t>(kStages)];
};

// The next number of a ring.
template <int kSize>
WKV_DEVICE int after(int place) {
  return place + 1 == kSize ? 0 : place + 1;
}

// What a thread copies, sixteen bytes at a time. A block's panels, and its tiles, are below 2^32 bytes.
template <class Shared, int kPanels>
struct ManyCopies {
  static constexpr int kPanelPieces = kStageUnits * kWarp;
  static constexpr int kTilePieces = kStageUnits * kUnitCodes / 16;
  static constexpr int kOfWeights = kPanels * kPanelPieces / kGemmThreads;
  static constexpr int kOfCodes = Shared::kAllTiles * kTilePieces / kGemmThreads;
  static constexpr int kGroupPieces = kPanels * kScalesBytes / 16;
  static constexpr int kTokenPieces = Shared::kTokens / 4;
  static_assert(kOfWeights > 0 && kOfCodes > 0 && kGroupPieces + 2 * kTokenPieces <= kGemmThreads);

  // Of the block, and how far it is.
  const unsigned char* panels;
  const unsigned char* tiles;
  unsigned in_panel = 0;
  unsigned in_tile = 0;
  // Of the thread.
  unsigned weights[static_cast<std::size_t>(kOfWeights)];
  unsigned codes[static_cast<std::size_t>(kOfCodes)];
  const unsigned char* numbers;  // a piece of what Shared::Group has
  unsigned numbers_step;         // to the next group

  WKV_DEVICE ManyCopies(const Int8Product& product, const Cut& cut, int first_panel, int first_token)
      : panels(product.panels + first_panel * cut.panel_bytes),
        tiles(reinterpret_cast<const unsigned char*>(product.x.codes) +
              first_token / kTileTokens * cut.tile_bytes) {
    const QuantizedTokens& x = product.x;
    // Behind the last panel, the last one again.
    const int last = (product.rows - 1) / kInt8PanelRows - first_panel;
    const auto panel_at = [&](int panel) {
      return static_cast<unsigned>(panel < last ? panel : last) * static_cast<unsigned>(cut.panel_bytes);
    };
    WKV_UNROLL
    for (int j = 0; j < kOfWeights; ++j) {
      const int i = thread_index() + j * kGemmThreads;
      weights[j] = panel_at(i / kPanelPieces) + static_cast<unsigned>(i % kPanelPieces * 16);
    }
    WKV_UNROLL
    for (int j = 0; j < kOfCodes; ++j) {
      const int i = thread_index() + j * kGemmThreads;
      codes[j] = static_cast<unsigned>(i / kTilePieces) * static_cast<unsigned>(cut.tile_bytes) +
                 static_cast<unsigned>(i % kTilePieces * 16);
    }
    const int i = thread_index();
    if (i < kGroupPieces) {
      constexpr int kOfPanel = kScalesBytes / 16;
      numbers = panels + panel_at(i / kOfPanel) + cut.in_group * kUnitBytes + i % kOfPanel * 16;
      numbers_step = static_cast<unsigned>(cut.group_bytes);
    } else {
      const bool scales = i < kGroupPieces + kTokenPieces;
      const int token = first_token + (i - kGroupPieces - (scales ? 0 : kTokenPieces)) * 4;
      numbers = scales ? reinterpret_cast<const unsigned char*>(x.scales + token)
                       : reinterpret_cast<const unsigned char*>(x.offsets + token);
      numbers_step = static_cast<unsigned>(x.stride) * static_cast<unsigned>(sizeof(float));
    }
  }

  WKV_DEVICE void begin(typename Shared::Stage& stage) const {
    WKV_UNROLL
    for (int j = 0; j < kOfWeights; ++j) {
      const int i = thread_index() + j * kGemmThreads;
      begin_copy(&stage.weights[0][0][0] + i / kWarp * kWarp + swizzled(i / 8 % 4, i % 8),
                 panels + (weights[j] + in_panel));
    }
    WKV_UNROLL
    for (int j = 0; j < kOfCodes; ++j) {
      begin_copy(reinterpret_cast<Words4*>(&stage.codes[0][0][0]) + thread_index() + j * kGemmThreads,
                 tiles + (codes[j] + in_tile));
    }
  }
  WKV_DEVICE void begin(typename Shared::Group& group) const {
    if (thread_index() >= kGroupPieces + 2 * kTokenPieces) return;
    begin_copy(reinterpret_cast<Words4*>(&group) + thread_index(), numbers);
  }
  WKV_DEVICE void advance(bool to_next_group) {
    in_panel += kStageUnits * kUnitBytes + (to_next_group ? kScalesBytes : 0);
    in_tile += kStageUnits * kUnitCodes;
    if (to_next_group) numbers += numbers_step;
  }
};

// A lane's rows of two units, of one product.
struct Operand {
  Integers2 low;
  Integers2 high;
};
WKV_DEVICE const Integers2* halves_of(const Words4& piece) {
  return reinterpret_cast<const Integers2*>(&piece);
}
WKV_DEVICE void multiply_add(std::int32_t (&sums)[4], const Operand& w, std::uint32_t low,
                             std::uint32_t high) {
  multiply_add(sums, static_cast<std::uint32_t>(w.low.x), static_cast<std::uint32_t>(w.low.y),
               static_cast<std::uint32_t>(w.high.x), static_cast<std::uint32_t>(w.high.y), low, high);
}
WKV_DEVICE void multiply_from(const Integers2& begin, std::int32_t (&sums)[4], const Operand& w,
                              std::uint32_t low, std::uint32_t high) {
  multiply_from(begin, sums, static_cast<std::uint32_t>(w.low.x), static_cast<std::uint32_t>(w.low.y),
                static_cast<std::uint32_t>(w.high.x), static_cast<std::uint32_t>(w.high.y), low, high);
}

// Of four rows: the first product's two, then the second's.
WKV_DEVICE Floats4 swapped_halves(const Floats4& rows, int swapped) {
  return swapped != 0 ? Floats4{rows.z, rows.w, rows.x, rows.y} : rows;
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
  const int stages = cut.groups * in_group;
  const int lane = thread_index() % kWarp;
  const int row = lane / 4;
  const int quad = lane % 4;
  const int place = swizzled(quad, row);
  const int swapped = row / 2 % 2;
  const int panel = thread_index() / kWarp % kPanels;
  const int first_tile = thread_index() / kWarp / kPanels * kTiles;

  begin_next_kernel();
  await_previous_kernel();
  ManyCopies<Shared, kPanels> copies{product, cut, first_panel, first_token};
  int begun = 0;
  int begun_in_group = 0;
  int begun_group = 0;  // in the ring
  const auto begin_next = [&](int slot) {
    if (begun < stages) {
      copies.begin(shared.stages[slot]);
      if (begun_in_group == 0) copies.begin(shared.groups[begun_group]);
      ++begun;
      const bool to_next_group = ++begun_in_group == in_group;
      if (to_next_group) {
        begun_in_group = 0;
        begun_group = after<kStages>(begun_group);
      }
      copies.advance(to_next_group);
    }
    commit_copies();
  };
  for (int i = 0; i < kStages - 1; ++i) begin_next(i);

  float total[static_cast<std::size_t>(kTiles)][2][4] = {};  // of two tokens and four rows
  std::int32_t sums[static_cast<std::size_t>(kTiles)][2][4];
  int slot = 0;
  int place_of_group = 0;
  for (int number = 0; number < cut.groups; ++number) {
    const typename Shared::Group& group = shared.groups[place_of_group];
    place_of_group = after<kStages>(place_of_group);
    for (int step = 0; step < in_group; ++step) {
      wait_copies<kStages - 2>();
      sync_block();
      begin_next(slot == 0 ? kStages - 1 : slot - 1);
      const typename Shared::Stage& stage = shared.stages[slot];
      slot = after<kStages>(slot);
      Operand w[kStageUnits / 2][2];
      WKV_UNROLL
      for (int pair = 0; pair < kStageUnits / 2; ++pair) {
        WKV_UNROLL
        for (int i = 0; i < 2; ++i) {
          w[pair][i] = {halves_of(stage.weights[panel][2 * pair][place])[i ^ swapped],
                        halves_of(stage.weights[panel][2 * pair + 1][place])[i ^ swapped]};
        }
      }
      WKV_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        std::uint32_t codes[4];
        load_words(codes, stage.codes[first_tile + tile]);
        if (step == 0) {
          Integers2 begin = group.offsets[(first_tile + tile) * (kTileTokens / 2) + quad];
          begin.x += kFloatOfInteger;
          begin.y += kFloatOfInteger;
          multiply_from(begin, sums[tile][0], w[0][0], codes[0], codes[1]);
          multiply_from(begin, sums[tile][1], w[0][1], codes[0], codes[1]);
        } else {
          multiply_add(sums[tile][0], w[0][0], codes[0], codes[1]);
          multiply_add(sums[tile][1], w[0][1], codes[0], codes[1]);
        }
        multiply_add(sums[tile][0], w[1][0], codes[2], codes[3]);
        multiply_add(sums[tile][1], w[1][1], codes[2], codes[3]);
      }
    }
    const Floats4 scales = swapped_halves(group.scales[panel][row], swapped);
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
  WKV_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    WKV_UNROLL
    for (int token = 0; token < 2; ++token) {
      const int at = first_token + (first_tile + tile) * kTileTokens + quad * 2 + token;
      if (at >= a.all.tokens) continue;
      const float(&sum)[4] = total[tile][token];
      put_rows(product, at, output_row, swapped_halves({sum[0], sum[1], sum[2], sum[3]}, swapped));
    }
  }
}

}  // namespace wkv::cuda
