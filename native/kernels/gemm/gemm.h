#pragma once

// Products of weight matrices with activations, for one token or many.
//
// A weight matrix [rows, columns] is stored in panels: kPanelRows rows side by side, sixteen columns of each
// in turn, [rows / 4][columns / 16][4][16], padded with zeros. One layout serves single tokens (a panel is
// one stream of memory) and prompts (a panel is a register tile).
//
// Order of accumulation, the same for every tile and instruction set: each output is sixteen partial sums,
// lane l adding the products of the columns c with c % 16 == l by fma in ascending order, then reduce_add.

#include <cstddef>

namespace wkv {

// The multiple of `multiple` at or above a number.
static constexpr int round_up(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

constexpr int kPanelRows = 4;
constexpr int kPanelColumns = 16;
// A block is what one call computes at most: enough rows to use a chunk of activations well, few enough that
// their partial sums stay in the second-level cache.
constexpr int kBlockRows = 32;
constexpr int kBlockTokens = 128;
constexpr std::size_t kGemmScratchFloats = std::size_t{kBlockRows} * kBlockTokens * kPanelColumns;

struct GemmArguments {
  const void* weights;  // the first panel of the block
  const float* x;       // [tokens][x_stride], x_stride >= padded_columns, zero beyond the matrix's columns
  float* output;        // [tokens][output_stride], written at columns [0, rows)
  float* scratch;       // kGemmScratchFloats floats, 64-byte aligned
  std::ptrdiff_t x_stride;
  std::ptrdiff_t output_stride;
  int tokens;          // 1 to kBlockTokens
  int rows;            // 1 to kBlockRows; the last panel may be partial
  int padded_columns;  // a multiple of 16
};
// output[t][r] = sum over c of weights[r][c] * x[t][c]
using Gemm = void (*)(const GemmArguments& arguments);

namespace reference {
void gemm_f32(const GemmArguments& arguments);
void gemm_f16(const GemmArguments& arguments);
void gemm_bf16(const GemmArguments& arguments);
}  // namespace reference

}  // namespace wkv
