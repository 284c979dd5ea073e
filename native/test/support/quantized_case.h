#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "backend/cpu/memory.h"
#include "test/support/guarded.h"
#include "test/support/numbers.h"

namespace wkv::test {

// A panel of quantized weights and quantized activations, for the tests of the products. Whoever makes one
// fills the panel and the codes, and then the offsets.
struct QuantizedCase {
  QuantizedCase(std::mt19937& random, int row_count, int column_count, int token_count,
                int columns_of_a_group)
      : rows(row_count),
        padded(column_count),
        tokens(token_count),
        group(columns_of_a_group),
        stride(tokens + 5),
        codes(static_cast<std::size_t>(tokens * padded)) {
    const auto groups = static_cast<std::size_t>((padded + group - 1) / group);
    scales = random_floats(random, groups * static_cast<std::size_t>(stride), 0.001F, 0.1F);
  }

  // offsets[part][token] = factor * the sum of a token's codes in each part of so many columns.
  void put_offsets(int columns_of_a_part, int factor) {
    const auto parts = static_cast<std::size_t>((padded + columns_of_a_part - 1) / columns_of_a_part);
    offsets.resize(parts * static_cast<std::size_t>(stride));
    for (int token = 0; token < tokens; ++token) {
      for (int begin = 0; begin < padded; begin += columns_of_a_part) {
        int sum = 0;
        for (int column = begin; column < std::min(begin + columns_of_a_part, padded); ++column) {
          sum += codes[static_cast<std::size_t>(token * padded + column)];
        }
        offsets[static_cast<std::size_t>(begin / columns_of_a_part * stride + token)] = factor * sum;
      }
    }
  }

  // The codes as a kernel with these tiles wants them, of the tokens [first, first + count).
  std::vector<std::int8_t> tiled(int tile_tokens, int first, int count) const {
    std::vector<std::int8_t> result(static_cast<std::size_t>(count * padded));
    for (int t = 0; t < count; ++t) {
      const int tile = t / tile_tokens * tile_tokens;
      const int width = std::min(count - tile, tile_tokens);
      for (int column = 0; column < padded; ++column) {
        const int place = tile * padded + (column / 16 * width + t - tile) * 16 + column % 16;
        result[static_cast<std::size_t>(place)] =
            codes[static_cast<std::size_t>((first + t) * padded + column)];
      }
    }
    return result;
  }

  // What a kernel gives for these tokens, [count][rows + 3], -1 where nothing is to be written.
  template <class Kernel>
  Floats run(Kernel kernel, int tile_tokens, int first, int count) {
    const std::vector<std::int8_t> x = tiled(tile_tokens, first, count);
    Guarded<std::int8_t> guarded{std::span<const std::int8_t>(x)};
    Guarded<unsigned char> weights{std::span<const unsigned char>(panel)};
    Memory scratch(kGemmInt8ScratchFloats * sizeof(float));
    const std::ptrdiff_t output_stride = rows + 3;
    Floats output(static_cast<std::size_t>(count * output_stride), -1.0F);
    kernel({.weights = weights.data(),
            .x = {.tile_tokens = tile_tokens,
                  .codes = guarded.data(),
                  .scales = scales.data() + first,
                  .offsets = offsets.data() + first,
                  .stride = stride},
            .output = output.data(),
            .scratch = scratch.floats(),
            .output_stride = output_stride,
            .tokens = count,
            .rows = rows,
            .padded_columns = padded,
            .group = group});
    return output;
  }

  int rows, padded, tokens, group;
  std::ptrdiff_t stride;
  std::vector<unsigned char> panel;
  std::vector<std::int8_t> codes;
  Floats scales;
  std::vector<std::int32_t> offsets;
};

// The kernel has the reference's bits, with tiles of `tile` tokens and of fewer, for all tokens and for each
// third one alone.
template <class Kernel>
void check_product(QuantizedCase& c, Kernel kernel, Kernel reference, int tile) {
  INFO(c.rows, " rows, ", c.padded, " columns, ", c.tokens, " tokens, group ", c.group);
  const Floats expected = c.run(reference, tile, 0, c.tokens);
  CHECK(bit_difference(c.run(kernel, tile, 0, c.tokens), expected) == "");
  for (int smaller = 1; c.group == 64 && smaller < tile; ++smaller) {
    INFO("tiles of ", smaller);
    CHECK(bit_difference(c.run(kernel, smaller, 0, c.tokens), expected) == "");
  }
  const auto width = static_cast<std::size_t>(c.rows + 3);
  for (int t = 0; t < c.tokens; t += 3) {
    const std::span<const float> one =
        std::span(expected).subspan(static_cast<std::size_t>(t) * width, width);
    CHECK(bit_difference(c.run(kernel, tile, t, 1), one) == "");
  }
}

// The product that is tested: gemm_int8 or gemm_int4 of every table.
struct TestedProduct {
  GemmInt8 QuantizedKernels::*kernel;
  int QuantizedKernels::*tile_tokens;
  GemmInt8 reference;
};

// Whatever the instruction set, tile and chunk, for Case(random, rows, columns, tokens, group, extreme).
template <class Case>
void check_products(const TestedProduct& product, const std::vector<int>& all_columns,
                    const std::vector<int>& all_groups) {
  std::mt19937 random(5);
  for (const KernelTable* table : available_kernels()) {
    INFO(table->name);
    for (const bool extreme : {false, true}) {
      for (const int columns : all_columns) {
        for (const int group : all_groups) {
          for (const int tokens : {1, 2, 3, 4, 5, 11, 12, 13, 29}) {
            if (columns == 4096 && tokens > 5) continue;
            const int rows = tokens % 3 == 0 ? 32 : tokens % 3 == 1 ? 17 : 5;
            Case c(random, rows, columns, tokens, group, extreme);
            check_product(c, table->quantized.*product.kernel, product.reference,
                          table->quantized.*product.tile_tokens);
          }
        }
      }
    }
  }
}

// All tokens of a case at once, by every instruction set. Returns the reference's output.
inline Floats check_at_once(const TestedProduct& product, QuantizedCase& c) {
  Floats expected;
  for (const KernelTable* table : available_kernels()) {
    INFO(table->name);
    const int tile = table->quantized.*product.tile_tokens;
    expected = c.run(product.reference, tile, 0, c.tokens);
    CHECK(bit_difference(c.run(table->quantized.*product.kernel, tile, 0, c.tokens), expected) == "");
  }
  return expected;
}

}  // namespace wkv::test
