#pragma once

// Products of weights of 4 bits with activations of 8 bits, for one token or many.
//
// A weight is scale * multiplier * code. The code has 4 bits, -8 to 7. The 16 columns of a block share a
// multiplier, one of kInt4Multipliers or the negative of one, and the blocks of a group share a scale, a
// float of 8 bits (int4_scale). Codes and multipliers are whole numbers, so a group's sum is one, as in int8.
//
// A weight matrix [rows, columns] is stored in panels of 32 rows, columns padded to a multiple of 16:
//   codes        [columns / 8][32][4] bytes: the low halves of a row's four bytes are its codes of four
//                columns, with 8 added; the high halves those of the next four
//   multipliers  [columns / 32, rounded up][32] bytes: the low half for a row's 16 columns, the high half for
//                the next 16: an index into kInt4Multipliers
//   scales       [groups][32] bytes
//
// output[t][r] = sum over groups g, in order, of
//   fma(float(sum over blocks b of m[r][b] * (sum over the columns of b of code_w * code_x)) * scale_w[r][g],
//       scale_x[t][g], ...)

#include <cstddef>
#include <cstdint>

#include "kernels/gemm_int8/gemm_int8.h"
#include "kernels/quantize/quantize.h"

namespace wkv {

// As gemm_int8, with a panel of int4. A group has at most kMaxInt4Group columns, and the activations have an
// offset for every 16 columns: -8 * the sum of their codes.
using GemmInt4 = void (*)(const GemmInt8Arguments& arguments);

// What a panel takes, in bytes: a multiple of 16.
static constexpr std::size_t int4_panel_bytes(int padded_columns, int group) {
  const auto columns = static_cast<std::size_t>(padded_columns);
  const auto groups = (columns + static_cast<std::size_t>(group) - 1) / static_cast<std::size_t>(group);
  return columns * 16 + (columns + 31) / 32 * 32 + groups * kInt8PanelRows;
}
// Where in a panel its multipliers and its scales begin.
static constexpr std::ptrdiff_t int4_multipliers_offset(int padded_columns) {
  return std::ptrdiff_t{padded_columns} * 16;
}
static constexpr std::ptrdiff_t int4_scales_offset(int padded_columns) {
  return std::ptrdiff_t{padded_columns} * 16 + (std::ptrdiff_t{padded_columns} + 31) / 32 * 32;
}

namespace reference {
void gemm_int4(const GemmInt8Arguments& arguments);
}  // namespace reference

}  // namespace wkv
