#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "backend/cpu/thread_pool.h"
#include "engine/activation.h"
#include "engine/matrix.h"
#include "kernels/kernel_table.h"

namespace wkv {

// output[t] = weights * input[t]
struct Product {
  const Matrix* weights;
  const Activation* input;
  Activation* output;
};

// The memory of matrix products: a lane's for gemm, and the quantized inputs of one call to multiply.
struct MatrixScratch {
  static constexpr std::size_t kMaxProducts = 4;
  struct Quantized {
    Memory codes, scales, offsets;
  };

  // `columns`: of the widest matrix that is quantized; 0 if none is.
  MatrixScratch(unsigned lane_count, std::size_t tokens, int columns) {
    for (unsigned lane = 0; lane < lane_count; ++lane) lanes.emplace_back(kGemmScratchFloats * sizeof(float));
    if (columns == 0) return;
    const auto padded = static_cast<std::size_t>(round_up(columns, kGroupStep));
    for (Quantized& input : inputs) {
      input.codes = Memory(tokens * padded);
      // No matrix of up to this width has more groups.
      input.scales = Memory(tokens * padded / kGroupStep * sizeof(float));
      input.offsets = Memory(tokens * padded / kGroupStep * sizeof(std::int32_t));
    }
  }

  // As few tiles as there can be, and those alike: 16 tokens are 8 and 8, not 12 and 4.
  static int tile_tokens(const KernelTable& kernels, Precision precision, std::size_t tokens) {
    const auto most =
        static_cast<std::size_t>(precision == Precision::kInt4 ? kernels.quantized.int4_tile_tokens
                                                               : kernels.quantized.int8_tile_tokens);
    const std::size_t tiles = (tokens + most - 1) / most;
    return static_cast<int>((tokens + tiles - 1) / tiles);
  }

  QuantizedActivations quantized(std::size_t product, const KernelTable& kernels, Precision precision,
                                 std::size_t tokens) {
    Quantized& input = inputs[product];
    return {.tile_tokens = tile_tokens(kernels, precision, tokens),
            .codes = static_cast<std::int8_t*>(input.codes.data()),
            .scales = input.scales.floats(),
            .offsets = static_cast<std::int32_t*>(input.offsets.data()),
            .stride = static_cast<std::ptrdiff_t>(tokens)};
  }

  std::vector<Memory> lanes;
  std::array<Quantized, kMaxProducts> inputs;
};

static_assert(kGemmInt8ScratchFloats <= kGemmScratchFloats && kInt8PanelRows == kBlockRows &&
              kInt8BlockTokens == kBlockTokens);

inline Gemm gemm_for(const KernelTable& kernels, Precision precision) {
  switch (precision) {
    case Precision::kF16:
      return kernels.gemm_f16;
    case Precision::kBf16:
      return kernels.gemm_bf16;
    case Precision::kF32:
    case Precision::kInt8:
    case Precision::kInt4:
      break;
  }
  return kernels.gemm_f32;
}

// Quantizes the inputs of the products whose weights are quantized.
inline void quantize_inputs(const KernelTable& kernels, ThreadPool& pool, unsigned lanes,
                            MatrixScratch& scratch, std::size_t tokens, std::span<const Product> products) {
  // Below this many numbers waking a thread costs more than it brings.
  constexpr std::size_t kWorthSharing = 65'536;
  std::size_t work = 0;
  for (const Product& product : products) {
    if (is_quantized(product.weights->precision)) {
      work += tokens * static_cast<std::size_t>(product.weights->columns);
    }
  }
  if (work == 0) return;
  // Tokens of a tile have their codes in the same cache lines, which two threads would take from each other:
  // an item is a tile, or where there is only one, a product.
  const auto min_tile =
      static_cast<std::size_t>(std::min(MatrixScratch::tile_tokens(kernels, Precision::kInt8, tokens),
                                        MatrixScratch::tile_tokens(kernels, Precision::kInt4, tokens)));
  const std::size_t tiles = (tokens + min_tile - 1) / min_tile;
  pool.run(work < kWorthSharing ? 1 : lanes, products.size() * tiles, [&](std::size_t item, unsigned) {
    const std::size_t index = item / tiles;
    const Matrix& weights = *products[index].weights;
    if (!is_quantized(weights.precision)) return;
    const QuantizedActivations out = scratch.quantized(index, kernels, weights.precision, tokens);
    const std::size_t first = item % tiles * static_cast<std::size_t>(out.tile_tokens);
    const std::size_t end = std::min(first + static_cast<std::size_t>(out.tile_tokens), tokens);
    for (std::size_t token = first; token < end; ++token) {
      kernels.quantize_activations({
          .x = products[index].input->row(token),
          .input_scales = weights.input_scales.empty() ? nullptr : weights.input_scales.data(),
          .out = out,
          .token = static_cast<int>(token),
          .tokens = static_cast<int>(tokens),
          .columns = weights.columns,
          .group = weights.group,
          .weights = weights.precision == Precision::kInt4 ? WeightBits::k4 : WeightBits::k8,
      });
    }
  });
}

// Computes several products in one parallel region; those with quantized weights come first and are at most
// MatrixScratch::kMaxProducts. As soon as a block of rows is done, epilogue(product, token, row, rows) is
// called for each of its tokens, on the same thread.
template <class Epilogue>
void multiply(const KernelTable& kernels, ThreadPool& pool, unsigned lanes, MatrixScratch& scratch,
              std::size_t tokens, std::span<const Product> products, Epilogue&& epilogue) {
  // Below this many multiplications waking a thread costs more than it brings.
  constexpr std::size_t kWorthSharing = 200'000;
  quantize_inputs(kernels, pool, lanes, scratch, tokens, products);
  std::size_t blocks = 0;
  std::size_t work = 0;
  for (const Product& product : products) {
    const auto rows = static_cast<std::size_t>(product.weights->rows);
    blocks += (rows + kBlockRows - 1) / kBlockRows;
    work += rows * static_cast<std::size_t>(product.weights->columns) * tokens;
  }
  // A lane takes some blocks in a row: they follow each other in memory, and a kernel asks early for what
  // comes next.
  const std::size_t run = std::clamp<std::size_t>(blocks / (std::size_t{lanes} * 8), 1, 4);
  const auto run_block = [&](std::size_t block, unsigned lane) {
    std::size_t index = 0;
    auto own_blocks = [&] {
      return static_cast<std::size_t>((products[index].weights->rows + kBlockRows - 1) / kBlockRows);
    };
    while (block >= own_blocks()) {
      block -= own_blocks();
      ++index;
    }
    const Product& product = products[index];
    const Matrix& weights = *product.weights;
    const int row = static_cast<int>(block) * kBlockRows;
    const int rows = std::min(kBlockRows, weights.rows - row);
    if (is_quantized(weights.precision)) {
      const auto gemm =
          weights.precision == Precision::kInt4 ? kernels.quantized.gemm_int4 : kernels.quantized.gemm_int8;
      gemm({
          .weights = weights.panel(row),
          .x = scratch.quantized(index, kernels, weights.precision, tokens),
          .output = product.output->row(0) + row,
          .scratch = scratch.lanes[lane].floats(),
          .output_stride = product.output->stride,
          .tokens = static_cast<int>(tokens),
          .rows = rows,
          .padded_columns = weights.padded_columns,
          .group = weights.group,
      });
    } else {
      gemm_for(kernels, weights.precision)({
          .weights = weights.panel(row),
          .x = product.input->row(0),
          .output = product.output->row(0) + row,
          .scratch = scratch.lanes[lane].floats(),
          .x_stride = product.input->stride,
          .output_stride = product.output->stride,
          .tokens = static_cast<int>(tokens),
          .rows = rows,
          .padded_columns = weights.padded_columns,
      });
    }
    for (std::size_t token = 0; token < tokens; ++token) epilogue(index, token, row, rows);
  };
  pool.run(work < kWorthSharing ? 1 : lanes, (blocks + run - 1) / run, [&](std::size_t item, unsigned lane) {
    const std::size_t end = std::min((item + 1) * run, blocks);
    for (std::size_t block = item * run; block < end; ++block) run_block(block, lane);
  });
}

}  // namespace wkv
