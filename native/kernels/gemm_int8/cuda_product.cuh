#pragma once

// What the kernels for few and for many tokens have in common, and how weights of 8 bits are arranged for
// them (kernels/gemm_int4/cuda_weights.cuh has those of 4 bits).
//
// Sixteen columns of a panel are a unit, 512 bytes, which is arranged as the instructions read it: [32][16],
// signed, each row's columns together. The rows are in an order that leaves a lane's four sums neighbours:
// where an instruction has row 16 p + 8 h + r, the panel has row 4 r + 2 p + h. Scales stay where they are.
// The activations' tiles are the same for eight tokens, [8][16].

#include "kernels/activations/cuda.cuh"
#include "kernels/gemm_int8/cuda.h"
#include "kernels/gemm_int8/gemm_int8.h"

namespace wkv::cuda {

constexpr int kGemmWarps = 8;
constexpr int kGemmThreads = kGemmWarps * kWarp;
constexpr int kUnitColumns = 16;
constexpr int kUnitBytes = kUnitColumns * kInt8PanelRows;
constexpr int kUnitCodes = kUnitColumns * kTileTokens;  // bytes of a tile
constexpr int kScalesBytes = kInt8PanelRows * static_cast<int>(sizeof(float));

struct GemmLaunch {
  QuantizedProducts all;
  int first_block[kMaxProducts];  // of each product
};

// Which product a block works for.
WKV_DEVICE int product_of(const GemmLaunch& a, int block) {
  int index = 0;
  while (index + 1 < a.all.count && block >= a.first_block[index + 1]) ++index;
  return index;
}

// How a matrix is cut.
struct Cut {
  int units;                   // of a row
  int in_group;                // units, in whole groups
  int groups;                  // of a row
  std::ptrdiff_t group_bytes;  // from the codes of one to those of the next
  std::ptrdiff_t panel_bytes;
  std::ptrdiff_t tile_bytes;

  WKV_BOTH int units_of(int group) const {
    const int left = units - group * in_group;
    return left < in_group ? left : in_group;
  }
};
WKV_BOTH Cut cut_of(int columns, int group) {
  Cut cut;
  cut.units = (columns + kUnitColumns - 1) / kUnitColumns;
  cut.in_group = group / kUnitColumns;
  cut.groups = (cut.units + cut.in_group - 1) / cut.in_group;
  cut.group_bytes = static_cast<std::ptrdiff_t>(cut.in_group) * kUnitBytes + kScalesBytes;
  cut.panel_bytes = static_cast<std::ptrdiff_t>(cut.units) * kUnitBytes +
                    static_cast<std::ptrdiff_t>(cut.groups) * kScalesBytes;
  cut.tile_bytes = static_cast<std::ptrdiff_t>(cut.units) * kUnitCodes;
  return cut;
}
WKV_DEVICE Cut cut_of(const QuantizedTokens& x) { return cut_of(x.columns, x.group); }

template <Epilogue kEpilogue>
WKV_DEVICE float finished(float sum, float before, float gate) {
  switch (kEpilogue) {
    case Epilogue::kStore:
      break;
    case Epilogue::kReluSquared: {
      const float positive = sum < 0.0F ? 0.0F : sum;  // NaN stays
      return positive * positive;
    }
    case Epilogue::kAdd:
      return before + sum;
    case Epilogue::kAddGated:
      return fused(sigmoid(gate), sum, before);
  }
  return sum;
}

// What an epilogue needs beside the sum.
struct Before {
  float output = 0;
  float gate = 0;
};
WKV_DEVICE Before before_of(const QuantizedProduct& product, std::ptrdiff_t place) {
  Before before;
  const bool is_gated = product.epilogue == Epilogue::kAddGated;
  if (is_gated || product.epilogue == Epilogue::kAdd) before.output = product.output[place];
  if (is_gated) before.gate = product.gate[place];
  return before;
}
WKV_DEVICE float finished(Epilogue epilogue, float sum, const Before& before) {
  switch (epilogue) {
    case Epilogue::kStore:
      break;
    case Epilogue::kReluSquared:
      return finished<Epilogue::kReluSquared>(sum, 0, 0);
    case Epilogue::kAdd:
      return finished<Epilogue::kAdd>(sum, before.output, 0);
    case Epilogue::kAddGated:
      return finished<Epilogue::kAddGated>(sum, before.output, before.gate);
  }
  return sum;
}
WKV_DEVICE float finished(const QuantizedProduct& product, std::ptrdiff_t place, float sum) {
  return finished(product.epilogue, sum, before_of(product, place));
}

// Neighbouring rows of a token, which are loaded and stored at once.
template <int kRows>
struct alignas(kRows * sizeof(float)) RowsOfToken {
  float of[static_cast<std::size_t>(kRows)];
};
// What a lane has of some tiles: the sums of kRows rows from `row` on, of the tokens `token` and the next,
// and those of each further tile.
template <int kTiles, int kRows>
using TileRows = RowsOfToken<kRows>[static_cast<std::size_t>(kTiles)][2];

// All that is read is on its way before anything waits for it.
template <Epilogue kEpilogue, int kTiles, int kRows>
WKV_DEVICE void put_whole_rows(const QuantizedProduct& product, int token, int tokens, int row,
                               const TileRows<kTiles, kRows>& sums) {
  constexpr int kTogether = 8 / kRows;
  static_assert(kTiles % kTogether == 0);
  using Rows = RowsOfToken<kRows>;
  const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(token) * product.rows + row;
  const auto place_of = [&](int tile, int which) {
    return first + (static_cast<std::ptrdiff_t>(tile) * kTileTokens + which) * product.rows;
  };
  const auto is_there = [&](int tile, int which) { return token + tile * kTileTokens + which < tokens; };
  WKV_UNROLL
  for (int begin = 0; begin < kTiles; begin += kTogether) {
    TileRows<kTogether, kRows> before = {};
    TileRows<kTogether, kRows> gates = {};
    WKV_UNROLL
    for (int tile = 0; tile < kTogether; ++tile) {
      WKV_UNROLL
      for (int which = 0; which < 2; ++which) {
        if (!is_there(begin + tile, which)) continue;
        const std::ptrdiff_t place = place_of(begin + tile, which);
        if (kEpilogue == Epilogue::kAdd || kEpilogue == Epilogue::kAddGated) {
          before[tile][which] = *reinterpret_cast<const Rows*>(product.output + place);
        }
        if (kEpilogue == Epilogue::kAddGated) {
          gates[tile][which] = *reinterpret_cast<const Rows*>(product.gate + place);
        }
      }
    }
    WKV_UNROLL
    for (int tile = 0; tile < kTogether; ++tile) {
      WKV_UNROLL
      for (int which = 0; which < 2; ++which) {
        if (!is_there(begin + tile, which)) continue;
        Rows rows;
        WKV_UNROLL
        for (int i = 0; i < kRows; ++i) {
          rows.of[i] = finished<kEpilogue>(sums[begin + tile][which].of[i], before[tile][which].of[i],
                                           gates[tile][which].of[i]);
        }
        store_together(product.output + place_of(begin + tile, which), rows.of);
      }
    }
  }
}

// The same where rows end anywhere. A function that is called: its code many times over would not fit the
// cache of instructions.
template <int kRows>
WKV_FUNCTION void put_ragged_rows(const QuantizedProduct& product, int token, int row,
                                  RowsOfToken<kRows> sums) {
  const std::ptrdiff_t place = static_cast<std::ptrdiff_t>(token) * product.rows + row;
  WKV_UNROLL
  for (int i = 0; i < kRows; ++i) {
    if (row + i < product.rows) product.output[place + i] = finished(product, place + i, sums.of[i]);
  }
}

template <int kTiles, int kRows>
WKV_DEVICE void put_rows(const QuantizedProduct& product, int token, int tokens, int row,
                         const TileRows<kTiles, kRows>& sums) {
  if (row >= product.rows) return;
  if (product.rows % kRows != 0) {
    WKV_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      WKV_UNROLL
      for (int which = 0; which < 2; ++which) {
        const int own = token + tile * kTileTokens + which;
        if (own < tokens) put_ragged_rows<kRows>(product, own, row, sums[tile][which]);
      }
    }
    return;
  }
  switch (product.epilogue) {
    case Epilogue::kStore:
      put_whole_rows<Epilogue::kStore, kTiles, kRows>(product, token, tokens, row, sums);
      break;
    case Epilogue::kReluSquared:
      put_whole_rows<Epilogue::kReluSquared, kTiles, kRows>(product, token, tokens, row, sums);
      break;
    case Epilogue::kAdd:
      put_whole_rows<Epilogue::kAdd, kTiles, kRows>(product, token, tokens, row, sums);
      break;
    case Epilogue::kAddGated:
      put_whole_rows<Epilogue::kAddGated, kTiles, kRows>(product, token, tokens, row, sums);
      break;
  }
}

}  // namespace wkv::cuda
