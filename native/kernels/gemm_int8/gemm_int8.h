#pragma once

// Products of weights of 8 bits with activations of 8 bits, for one token or many.
//
// A weight matrix [rows, columns] is stored in panels of 32 rows. A panel is its groups of columns one after
// another; a group is its codes, [columns / 4][32][4], padded with zeros to 16 columns, and then the group's
// scale of each row, [32]. One layout serves single tokens (a panel is one stream of memory), prompts (four
// columns of a row are one step of a dot product) and every instruction set.
//
// output[t][r] = sum over groups g, in order, of
//   fma(float(sum over the columns of g of code_w * code_x) * scale_w[r][g], scale_x[t][g], ...)
// The inner sum is of integers, so its order does not matter, and every instruction set gives the same bits.

#include <cstddef>
#include <cstdint>

#include "kernels/quantize/quantize.h"

namespace wkv {

constexpr int kInt8PanelRows = 32;
// A call computes at most a panel for this many tokens.
constexpr int kInt8BlockTokens = 128;
// A group's sum must fit 32 bits: 2^16 * 127 * 127 does, also while 128 is added to the weights' codes.
constexpr int kMaxGroup = 1 << 16;
constexpr std::size_t kGemmInt8ScratchFloats = std::size_t{kInt8PanelRows} * kInt8BlockTokens;

struct GemmInt8Arguments {
  const unsigned char* weights;  // a panel, 64-byte aligned
  QuantizedActivations x;
  float* output;   // [tokens][output_stride], written at columns [0, rows)
  float* scratch;  // kGemmInt8ScratchFloats floats, 64-byte aligned
  std::ptrdiff_t output_stride;
  int tokens;          // 1 to kInt8BlockTokens
  int rows;            // 1 to kInt8PanelRows
  int padded_columns;  // a multiple of 16
  int group;           // a multiple of 16, at most kMaxGroup; the last group has what remains
};
using GemmInt8 = void (*)(const GemmInt8Arguments& arguments);

// What a panel takes, in bytes.
static constexpr std::size_t int8_panel_bytes(int padded_columns, int group) {
  const auto columns = static_cast<std::size_t>(padded_columns);
  const auto groups = (columns + static_cast<std::size_t>(group) - 1) / static_cast<std::size_t>(group);
  return (columns + groups * sizeof(float)) * kInt8PanelRows;
}
// Where in a panel the codes of a group begin; its scales follow `group` columns later, or at the panel's
// end.
static constexpr std::size_t int8_group_offset(int index, int group) {
  return static_cast<std::size_t>(index) * (static_cast<std::size_t>(group) + sizeof(float)) * kInt8PanelRows;
}

namespace reference {
void gemm_int8(const GemmInt8Arguments& arguments);
}  // namespace reference

}  // namespace wkv
