#pragma once

// For few tokens: a block computes a panel, 32 rows, for 8 or 16 tokens. Its eight warps take the groups of
// columns in turn, and what a group adds to each sum goes through shared memory, where it is added in order.
//
// What limits it is how fast weights come from memory: kDepth stages, weights and activations, are on their
// way at a time for each warp, and no warp waits for another but once in kGroups groups.

#include "kernels/gemm_int8/cuda_product.cuh"

namespace wkv::cuda {

// Up to two units.
template <int kTiles>
struct FewStage {
  Words4 weights[2][kWarp];
  std::uint32_t codes[2][static_cast<std::size_t>(kTiles)][kWarp];
};

template <int kTiles>
struct FewShared {
  static constexpr int kDepth = 4;
  static constexpr int kTokens = kTiles * kTileTokens;
  // Whose sums wait to be added.
  static constexpr int kGroups = 128 / kTokens;

  FewStage<kTiles> ring[kGemmWarps][kDepth];
  Floats4 partial[static_cast<std::size_t>(kGroups)][static_cast<std::size_t>(kTokens)][kInt8PanelRows / 4];
};

// A warp's way through its groups, two units a step.
struct Walk {
  const Cut& cut;
  int group;
  int unit;  // within the group

  WKV_DEVICE bool ended() const { return group >= cut.groups; }
  WKV_DEVICE int units() const { return unit + 1 < cut.units_of(group) ? 2 : 1; }
  WKV_DEVICE void advance() {
    unit += 2;
    if (unit < cut.units_of(group)) return;
    unit = 0;
    group += kGemmWarps;
  }
};

// A lane copies its sixteen bytes of each unit of weights, and the lanes together what is there of codes.
template <int kTiles>
WKV_DEVICE void begin_weights(FewStage<kTiles>& stage, const Walk& walk, const unsigned char* panel) {
  const int lane = thread_index() % kWarp;
  const unsigned char* const at = panel + walk.group * walk.cut.group_bytes + walk.unit * kUnitBytes +
                                  lane % 4 * kInt8PanelRows * 4 + lane / 4 * 16;
  for (int i = 0; i < walk.units(); ++i) begin_copy(&stage.weights[i][lane], at + i * kUnitBytes);
}
template <int kTiles>
WKV_DEVICE void begin_codes(FewStage<kTiles>& stage, const Walk& walk, const std::int8_t* codes) {
  constexpr int kPieces = kUnitCodes / 16;  // of a tile
  const int lane = thread_index() % kWarp;
  const int tile = lane / kPieces;
  if (tile >= kTiles) return;
  const std::int8_t* const at =
      codes + tile * walk.cut.tile_bytes +
      (static_cast<std::ptrdiff_t>(walk.group) * walk.cut.in_group + walk.unit) * kUnitCodes +
      lane % kPieces * 16;
  for (int i = 0; i < walk.units(); ++i) {
    begin_copy(reinterpret_cast<Words4*>(&stage.codes[i][tile][lane % kPieces * 4]),
               reinterpret_cast<const unsigned char*>(at + i * kUnitCodes));
  }
}

// What a warp needs of a group beside codes.
template <int kTiles>
struct GroupNumbers {
  Floats4 scales;  // of four rows
  Integers2 offsets[static_cast<std::size_t>(kTiles)];
};
template <int kTiles>
WKV_DEVICE GroupNumbers<kTiles> numbers_of(const Cut& cut, int group, const unsigned char* panel,
                                           const std::int32_t* offsets, int stride) {
  GroupNumbers<kTiles> numbers{};
  if (group >= cut.groups) return numbers;
  const int lane = thread_index() % kWarp;
  numbers.scales = *reinterpret_cast<const Floats4*>(panel + group * cut.group_bytes +
                                                     cut.units_of(group) * kUnitBytes + lane / 4 * 16);
  WKV_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    numbers.offsets[tile] = *reinterpret_cast<const Integers2*>(
        offsets + static_cast<std::ptrdiff_t>(group) * stride + tile * kTileTokens + lane % 4 * 2);
  }
  return numbers;
}

template <int kTiles>
WKV_KERNEL(kGemmThreads)
gemm_int8_few(WKV_ARGUMENTS GemmLaunch a) {
  using Shared = FewShared<kTiles>;
  constexpr int kDepth = Shared::kDepth;
  Shared& shared = shared_memory<Shared>();
  const int index = product_of(a, block_x());
  const Int8Product& product = a.all.products[index];
  const QuantizedTokens& x = product.x;
  const Cut cut = cut_of(x);
  const int panel_index = block_x() - a.first_block[index];
  const unsigned char* const panel = product.panels + panel_index * cut.panel_bytes;
  const int first_token = block_y() * Shared::kTokens;
  const std::int8_t* const codes = x.codes + first_token / kTileTokens * cut.tile_bytes;
  const int warp = thread_index() / kWarp;
  const int lane = thread_index() % kWarp;
  const int row = lane / 4;
  const int quad = lane % 4;
  FewStage<kTiles>* const ring = shared.ring[warp];

  begin_next_kernel();
  Walk next{cut, warp, 0};
  for (int i = 0; i < kDepth && !next.ended(); ++i, next.advance()) begin_weights(ring[i], next, panel);
  await_previous_kernel();
  next.group = warp;
  next.unit = 0;
  for (int i = 0; i < kDepth; ++i) {
    if (!next.ended()) {
      begin_codes(ring[i], next, codes);
      next.advance();
    }
    commit_copies();
  }

  int slot = 0;
  float total[static_cast<std::size_t>(kTiles)] = {};  // of the tokens warp, warp + 8 ... in row `lane`
  auto numbers = numbers_of<kTiles>(cut, warp, panel, x.offsets + first_token, x.stride);
  for (int first = 0; first < cut.groups; first += Shared::kGroups) {
    float x_scales[static_cast<std::size_t>(Shared::kGroups)][static_cast<std::size_t>(kTiles)];
    WKV_UNROLL
    for (int i = 0; i < Shared::kGroups; ++i) {
      WKV_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        const int token = first_token + tile * kTileTokens + warp;
        x_scales[i][tile] = first + i < cut.groups
                                ? x.scales[static_cast<std::ptrdiff_t>(first + i) * x.stride + token]
                                : 0.0F;
      }
    }
    for (int i = warp; i < Shared::kGroups && first + i < cut.groups; i += kGemmWarps) {
      const int group = first + i;
      const auto next_numbers =
          numbers_of<kTiles>(cut, group + kGemmWarps, panel, x.offsets + first_token, x.stride);
      std::int32_t sums[static_cast<std::size_t>(kTiles)][2][4];
      WKV_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        WKV_UNROLL
        for (int half = 0; half < 2; ++half) {
          sums[tile][half][0] = sums[tile][half][2] = numbers.offsets[tile].x;
          sums[tile][half][1] = sums[tile][half][3] = numbers.offsets[tile].y;
        }
      }
      const int units = cut.units_of(group);
      for (int unit = 0; unit < units; unit += 2) {
        const bool pair = unit + 1 < units;
        wait_copies<kDepth - 1>();
        sync_warp();
        FewStage<kTiles>& stage = ring[slot];
        const Words4 low = stage.weights[0][lane];
        const Words4 high = pair ? stage.weights[1][lane] : Words4{0, 0, 0, 0};
        WKV_UNROLL
        for (int tile = 0; tile < kTiles; ++tile) {
          const std::uint32_t low_codes = stage.codes[0][tile][lane];
          const std::uint32_t high_codes = pair ? stage.codes[1][tile][lane] : 0;
          multiply_add(sums[tile][0], low.x, low.y, high.x, high.y, low_codes, high_codes);
          multiply_add(sums[tile][1], low.z, low.w, high.z, high.w, low_codes, high_codes);
        }
        sync_warp();
        if (!next.ended()) {
          begin_weights(stage, next, panel);
          begin_codes(stage, next, codes);
          next.advance();
        }
        commit_copies();
        slot = slot + 1 == kDepth ? 0 : slot + 1;
      }
      WKV_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        WKV_UNROLL
        for (int token = 0; token < 2; ++token) {
          shared.partial[i][tile * kTileTokens + quad * 2 + token][row] = {
              static_cast<float>(sums[tile][0][token]) * numbers.scales.x,
              static_cast<float>(sums[tile][0][2 + token]) * numbers.scales.y,
              static_cast<float>(sums[tile][1][token]) * numbers.scales.z,
              static_cast<float>(sums[tile][1][2 + token]) * numbers.scales.w};
        }
      }
      numbers = next_numbers;
    }
    sync_block();
    WKV_UNROLL
    for (int i = 0; i < Shared::kGroups; ++i) {
      if (first + i >= cut.groups) break;
      WKV_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        const auto* const products =
            reinterpret_cast<const float*>(&shared.partial[i][tile * kTileTokens + warp][0]);
        total[tile] = fused(products[lane], x_scales[i][tile], total[tile]);
      }
    }
    sync_block();
  }

  const int output_row = panel_index * kInt8PanelRows + lane;
  if (output_row >= product.rows) return;
  WKV_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    const int token = first_token + tile * kTileTokens + warp;
    if (token >= a.all.tokens) break;
    const std::ptrdiff_t place = static_cast<std::ptrdiff_t>(token) * product.rows + output_row;
    product.output[place] = finished(product, place, total[tile]);
  }
}

}  // namespace wkv::cuda
