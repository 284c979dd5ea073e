#pragma once

// What the kernels for few and for many tokens have in common.
//
// The panel's layout suits the instruction (mma.m16n8k32) as it is. Sixteen columns of a panel are a unit:
// 512 bytes, [4 quads][32 rows][4]. Lane (row, quad) = (lane / 4, lane % 4) takes the sixteen bytes of the
// rows 4 row to 4 row + 3 at its quad, and they are what it holds of two products of 16 rows each, whose row
// `row` is row 4 row + 0 (+ 2), and whose row `row + 8` is 4 row + 1 (+ 3). Two units make 32 columns. The
// activations' tiles suit it, too: four bytes for each lane, in a row.

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

// Where the piece of a unit at (quad, row) lies in shared memory: so that eight lanes in a row, of two rows
// and four quads, read from different banks, and so do eight that write neighbours.
WKV_DEVICE int swizzled(int quad, int row) { return quad * 8 + ((row + quad * 2) & 7); }

struct GemmLaunch {
  GemmInt8Arguments all;
  int first_block[kMostProducts];  // of each product
};

// Which product a block works for.
WKV_DEVICE int product_of(const GemmLaunch& a, int block) {
  int index = 0;
  while (index + 1 < a.all.count && block >= a.first_block[index + 1]) ++index;
  return index;
}

// How a matrix is cut.
struct Cut {
  int units;     // of a row
  int in_group;  // units, in whole groups
  int groups;    // of a row
  std::ptrdiff_t group_bytes;
  std::ptrdiff_t panel_bytes;
  std::ptrdiff_t tile_bytes;

  WKV_DEVICE int units_of(int group) const {
    const int left = units - group * in_group;
    return left < in_group ? left : in_group;
  }
};
WKV_DEVICE Cut cut_of(const QuantizedTokens& x) {
  Cut cut;
  cut.units = (x.columns + kUnitColumns - 1) / kUnitColumns;
  cut.in_group = x.group / kUnitColumns;
  cut.groups = (cut.units + cut.in_group - 1) / cut.in_group;
  cut.group_bytes = static_cast<std::ptrdiff_t>(cut.in_group) * kUnitBytes + kScalesBytes;
  cut.panel_bytes = static_cast<std::ptrdiff_t>(cut.units) * kUnitBytes +
                    static_cast<std::ptrdiff_t>(cut.groups) * kScalesBytes;
  cut.tile_bytes = static_cast<std::ptrdiff_t>(cut.units) * kUnitCodes;
  return cut;
}

WKV_DEVICE float finished(const Int8Product& product, std::ptrdiff_t place, float sum) {
  switch (product.epilogue) {
    case Epilogue::kStore:
      return sum;
    case Epilogue::kReluSquared: {
      const float positive = sum < 0.0F ? 0.0F : sum;  // NaN stays
      return positive * positive;
    }
    case Epilogue::kAdd:
      return product.output[place] + sum;
    case Epilogue::kAddGated:
      return fused(sigmoid(product.gate[place]), sum, product.output[place]);
  }
  return sum;
}

// The sums of four rows from `row` on, of one token. A function that is called: its code many times over
// would not fit the cache of instructions.
WKV_FUNCTION void put_rows(const Int8Product& product, int token, int row, Floats4 sums) {
  const std::ptrdiff_t place = static_cast<std::ptrdiff_t>(token) * product.rows + row;
  if (product.rows % 4 == 0 && row < product.rows) {
    sums.x = finished(product, place, sums.x);
    sums.y = finished(product, place + 1, sums.y);
    sums.z = finished(product, place + 2, sums.z);
    sums.w = finished(product, place + 3, sums.w);
    *reinterpret_cast<Floats4*>(product.output + place) = sums;
    return;
  }
  const float four[] = {sums.x, sums.y, sums.z, sums.w};
  WKV_UNROLL
  for (int i = 0; i < 4; ++i) {
    if (row + i < product.rows) product.output[place + i] = finished(product, place + i, four[i]);
  }
}

}  // namespace wkv::cuda
