#pragma once

#include <algorithm>
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

// A lane's memory for gemm.
using Scratch = std::vector<Memory>;

inline Gemm gemm_for(const KernelTable& kernels, StoredType type) {
  switch (type) {
    case StoredType::kF16:
      return kernels.gemm_f16;
    case StoredType::kBf16:
      return kernels.gemm_bf16;
    case StoredType::kF32:
      break;
  }
  return kernels.gemm_f32;
}

// Computes several products in one parallel region. As soon as a block of rows is done, epilogue(product,
// token, row, rows) is called for each of its tokens, on the same thread.
template <class Epilogue>
void multiply(const KernelTable& kernels, ThreadPool& pool, unsigned lanes, Scratch& scratch,
              std::size_t tokens, std::span<const Product> products, Epilogue&& epilogue) {
  // Below this many multiplications waking a thread costs more than it brings.
  constexpr std::size_t kWorthSharing = 200'000;
  std::size_t blocks = 0;
  std::size_t work = 0;
  for (const Product& product : products) {
    const auto rows = static_cast<std::size_t>(product.weights->rows);
    blocks += (rows + kBlockRows - 1) / kBlockRows;
    work += rows * static_cast<std::size_t>(product.weights->columns) * tokens;
  }
  pool.run(work < kWorthSharing ? 1 : lanes, blocks, [&](std::size_t block, unsigned lane) {
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
    gemm_for(kernels, weights.type)({
        .weights = weights.panel(row),
        .x = product.input->row(0),
        .output = product.output->row(0) + row,
        .scratch = scratch[lane].floats(),
        .x_stride = product.input->stride,
        .output_stride = product.output->stride,
        .tokens = static_cast<int>(tokens),
        .rows = rows,
        .padded_columns = weights.padded_columns,
    });
    for (std::size_t token = 0; token < tokens; ++token) epilogue(index, token, row, rows);
  });
}

}  // namespace wkv
