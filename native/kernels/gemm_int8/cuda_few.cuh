#pragma once

// For few tokens: a block computes a panel, 32 rows, for 8, 16 or 32 tokens. Its eight warps take the groups
// of columns in turn, and what a group adds to each sum goes through shared memory, where it is added in
// order. `Weights` says how the panel is stored: Int8Weights (cuda_weights.cuh) or Int4Weights.
//
// What limits it is how fast weights come from memory: kDepth stages, weights and activations, are on their
// way at a time for each warp, and no warp waits for another but once in kGroups groups.

#include "kernels/gemm_int8/cuda_weights.cuh"

namespace wkv::cuda {

// Up to two units.
template <class Weights, int kTiles>
struct FewStage {
  typename Weights::Pair weights;
  PairCodes<kTiles> codes;
};

template <class Weights, int kTiles, int kDepth>
struct FewShared {
  static constexpr int kTokens = kTiles * kTileTokens;
  // Whose sums wait to be added.
  static constexpr int kGroups = kGemmWarps;

  FewStage<Weights, kTiles> ring[kGemmWarps][static_cast<std::size_t>(kDepth)];
  Floats4 partial[static_cast<std::size_t>(kGroups)][static_cast<std::size_t>(kTokens)][kInt8PanelRows / 4];
};

// A lane's way through what its warp copies, two units a step: pieces of weights and of codes, sixteen bytes
// each, as they lie in memory.
struct Walk {
  const unsigned char* weights;  // of the group that it is in
  const std::int8_t* codes;
  int group;
  int unit;  // within the group

  WKV_DEVICE Walk(const Cut& cut, int first, const unsigned char* panel, const std::int8_t* tiles)
      : weights(panel + first * cut.group_bytes),
        codes(tiles + static_cast<std::ptrdiff_t>(first) * cut.in_group * kUnitCodes),
        group(first),
        unit(0) {}

  WKV_DEVICE bool ended(const Cut& cut) const { return group >= cut.groups; }
  WKV_DEVICE void advance(const Cut& cut) {
    unit += 2;
    if (unit < cut.units_of(group)) return;
    unit = 0;
    group += kGemmWarps;
    weights += kGemmWarps * cut.group_bytes;
    codes += static_cast<std::ptrdiff_t>(kGemmWarps) * cut.in_group * kUnitCodes;
  }
};

// Of the first `tokens` tokens: what the others' sums become, nobody looks at.
template <int kTiles>
WKV_DEVICE void begin_codes(PairCodes<kTiles>& codes, const Walk& walk, const Cut& cut, int tokens) {
  constexpr int kPieces = 2 * kTileTokens;  // of a tile, one for each token of a unit
  static_assert(kPieces * 16 == 2 * kUnitCodes);
  const bool pair = walk.unit + 1 < cut.units_of(walk.group);
  const int lane = thread_index() % kWarp;
  WKV_UNROLL
  for (int first = 0; first < kTiles * kPieces; first += kWarp) {
    const int i = first + lane;
    const int token = i / kPieces * kTileTokens + lane % kTileTokens;
    if (i >= kTiles * kPieces || token >= tokens || (!pair && i % kPieces >= kPieces / 2)) continue;
    begin_copy(reinterpret_cast<Words4*>(&codes[i / kPieces][0][0]) + i % kPieces,
               reinterpret_cast<const unsigned char*>(walk.codes) + i / kPieces * cut.tile_bytes +
                   walk.unit * kUnitCodes + i % kPieces * 16);
  }
}

// Where in partial[group][token] the sums of four rows lie: lanes of two rows and four pairs of tokens write
// to different banks.
WKV_DEVICE int place_of_rows(int token, int row) { return (row + token / 2 * 2) & 7; }

template <class Weights, int kTiles, int kDepth>
WKV_KERNEL(kGemmThreads, 2)
gemm_few_kernel(WKV_ARGUMENTS GemmLaunch a) {
  using Shared = FewShared<Weights, kTiles, kDepth>;
  constexpr int kTogether =
      kTiles == 1 ? 8 : 16 / kTiles;  // groups that are added at once: registers for their scales
  static_assert(Shared::kGroups % kTogether == 0);
  Shared& shared = shared_memory<Shared>();
  const QuantizedProduct& product = a.all.products[product_of(a, block_x())];
  const QuantizedTokens& x = product.x;
  const Cut cut = Weights::cut_of(x);
  const int panel_index = block_x() - a.first_block[product_of(a, block_x())];
  const unsigned char* const panel = product.panels + panel_index * cut.panel_bytes;
  const int first_token = block_y() * Shared::kTokens;
  const int tokens = a.all.tokens - first_token;
  const std::int8_t* const codes = x.codes + first_token / kTileTokens * cut.tile_bytes;
  const int warp = thread_index() / kWarp;
  const int lane = thread_index() % kWarp;
  const int row = lane / 4;
  const int quad = lane % 4;
  FewStage<Weights, kTiles>* const ring = shared.ring[warp];

  const auto begin_weights = [&](FewStage<Weights, kTiles>& stage, const Walk& walk) {
    Weights::begin(stage.weights, cut, panel, walk.weights, walk.group, walk.unit);
  };

  begin_next_kernel();
  Walk next{cut, warp, panel, codes};
  for (int i = 0; i < kDepth && !next.ended(cut); ++i, next.advance(cut)) begin_weights(ring[i], next);
  await_previous_kernel();
  next = Walk{cut, warp, panel, codes};
  for (int i = 0; i < kDepth; ++i) {
    if (!next.ended(cut)) {
      begin_codes<kTiles>(ring[i].codes, next, cut, tokens);
      next.advance(cut);
    }
    commit_copies();
  }

  int slot = 0;
  float total[static_cast<std::size_t>(kTiles)] = {};  // of the tokens warp, warp + 8 ... in row `lane`
  Floats4 scales = Weights::scales_of(cut, warp, panel);
  for (int first = 0; first < cut.groups; first += Shared::kGroups) {
    for (int i = warp; i < Shared::kGroups && first + i < cut.groups; i += kGemmWarps) {
      const int group = first + i;
      const Floats4 next_scales = Weights::scales_of(cut, group + kGemmWarps, panel);
      TileSums<kTiles> sums = {};
      const int units = cut.units_of(group);
      for (int unit = 0; unit < units; unit += 2) {
        const bool pair = unit + 1 < units;
        wait_copies<kDepth - 1>();
        sync_warp();
        FewStage<Weights, kTiles>& stage = ring[slot];
        Weights::template multiply<kTiles>(sums, stage.weights, stage.codes, cut, group, unit, pair);
        sync_warp();
        if (!next.ended(cut)) {
          begin_weights(stage, next);
          begin_codes<kTiles>(stage.codes, next, cut, tokens);
          next.advance(cut);
        }
        commit_copies();
        slot = slot + 1 == kDepth ? 0 : slot + 1;
      }
      WKV_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        WKV_UNROLL
        for (int which = 0; which < 2; ++which) {
          const int token = tile * kTileTokens + quad * 2 + which;
          shared.partial[i][token][place_of_rows(token, row)] = {
              static_cast<float>(sums[tile][0][which]) * scales.x,
              static_cast<float>(sums[tile][0][2 + which]) * scales.y,
              static_cast<float>(sums[tile][1][which]) * scales.z,
              static_cast<float>(sums[tile][1][2 + which]) * scales.w};
        }
      }
      scales = next_scales;
    }
    float x_scales[static_cast<std::size_t>(kTogether)][static_cast<std::size_t>(kTiles)];
    const auto load_scales = [&](int begin) {
      WKV_UNROLL
      for (int i = 0; i < kTogether; ++i) {
        // Where there is no such group, those of the last.
        const int group = begin + i < cut.groups ? begin + i : cut.groups - 1;
        WKV_UNROLL
        for (int tile = 0; tile < kTiles; ++tile) {
          const int token = first_token + tile * kTileTokens + warp;
          x_scales[i][tile] = x.scales[static_cast<std::ptrdiff_t>(group) * x.stride + token];
        }
      }
    };
    load_scales(first);
    sync_block();
    WKV_UNROLL
    for (int begin = 0; begin < Shared::kGroups; begin += kTogether) {
      if (begin > 0) load_scales(first + begin);
      WKV_UNROLL
      for (int i = 0; i < kTogether; ++i) {
        WKV_UNROLL
        for (int tile = 0; tile < kTiles; ++tile) {
          const int token = tile * kTileTokens + warp;
          const auto* const products = reinterpret_cast<const float*>(&shared.partial[begin + i][token][0]);
          const float product_of_row = products[place_of_rows(token, lane / 4) * 4 + lane % 4];
          const float sum = fused(product_of_row, x_scales[i][tile], total[tile]);
          total[tile] = first + begin + i < cut.groups ? sum : total[tile];
        }
      }
    }
    sync_block();
  }

  const int output_row = panel_index * kInt8PanelRows + lane;
  if (output_row >= product.rows) return;
  WKV_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    const int token = tile * kTileTokens + warp;
    if (token >= tokens) break;
    const std::ptrdiff_t output =
        static_cast<std::ptrdiff_t>(first_token + token) * product.rows + output_row;
    product.output[output] = finished(product, output, total[tile]);
  }
}

}  // namespace wkv::cuda
