#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "backend/cpu/memory.h"
#include "test/support/guarded.h"
#include "test/support/numbers.h"

using wkv::KernelTable;
using wkv::test::Floats;
using wkv::test::Guarded;

namespace {

// A panel and activations. How numbers are drawn: any, or only those that make sums largest.
struct Case {
  Case(std::mt19937& random, int row_count, int column_count, int token_count, int columns_of_a_group,
       bool extreme)
      : rows(row_count), padded(column_count), tokens(token_count), group(columns_of_a_group) {
    std::uniform_int_distribution<int> byte(0, 255);
    std::uniform_int_distribution<int> any(-127, 127);
    std::bernoulli_distribution coin;
    panel.resize(wkv::int4_panel_bytes(padded, group));
    // Codes of -8 and 7, multipliers of 127 and -127, in any mixture.
    const auto half = [&](bool of_codes) {
      const int high = of_codes ? 15 : 7;
      return coin(random) ? high : of_codes ? 0 : 15;
    };
    for (std::size_t i = 0; i < panel.size(); ++i) {
      const bool of_codes = static_cast<std::ptrdiff_t>(i) < wkv::int4_multipliers_offset(padded);
      panel[i] = static_cast<unsigned char>(extreme ? half(of_codes) + 16 * half(of_codes) : byte(random));
    }
    codes.resize(static_cast<std::size_t>(tokens * padded));
    for (std::int8_t& x : codes) {
      x = static_cast<std::int8_t>(extreme ? (coin(random) ? 127 : -127) : any(random));
    }
    stride = tokens + 5;
    const auto groups = static_cast<std::size_t>((padded + group - 1) / group);
    scales = wkv::test::random_floats(random, groups * static_cast<std::size_t>(stride), 0.001F, 0.1F);
    offsets.resize(static_cast<std::size_t>(padded / 16 * stride));
    for (int t = 0; t < tokens; ++t) {
      for (int block = 0; block < padded / 16; ++block) {
        int sum = 0;
        for (int i = 0; i < 16; ++i) sum += codes[static_cast<std::size_t>(t * padded + block * 16 + i)];
        offsets[static_cast<std::size_t>(block * stride + t)] = -8 * sum;
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

  template <class Kernel>
  Floats run(Kernel kernel, int tile_tokens, int first, int count) {
    const std::vector<std::int8_t> x = tiled(tile_tokens, first, count);
    Guarded<std::int8_t> guarded{std::span<const std::int8_t>(x)};
    Guarded<unsigned char> weights{std::span<const unsigned char>(panel)};
    wkv::Memory scratch(wkv::kGemmInt8ScratchFloats * sizeof(float));
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
  std::ptrdiff_t stride = 0;
  std::vector<unsigned char> panel;
  std::vector<std::int8_t> codes;
  Floats scales;
  std::vector<std::int32_t> offsets;
};

}  // namespace

TEST_CASE("int4 products have the bits of the reference, whatever the instruction set, tile and chunk") {
  std::mt19937 random(5);
  for (const KernelTable* table : wkv::available_kernels()) {
    const int tile = table->quantized.int4_tile_tokens;
    for (const bool extreme : {false, true}) {
      for (const int columns : {16, 48, 64, 448, 1040, 4096}) {
        for (const int group : {16, 48, 64, 256}) {
          for (const int tokens : {1, 2, 3, 4, 5, 11, 12, 13, 29}) {
            if (columns == 4096 && tokens > 5) continue;
            const int rows = tokens % 3 == 0 ? 32 : tokens % 3 == 1 ? 17 : 5;
            Case c(random, rows, columns, tokens, group, extreme);
            INFO(table->name, ", ", rows, " rows, ", columns, " columns, ", tokens, " tokens, group ", group);
            const Floats expected = c.run(wkv::reference::gemm_int4, tile, 0, tokens);
            CHECK(wkv::test::bit_difference(c.run(table->quantized.gemm_int4, tile, 0, tokens), expected) ==
                  "");
            for (int smaller = 1; group == 64 && smaller < tile; ++smaller) {
              INFO("tiles of ", smaller);
              CHECK(wkv::test::bit_difference(c.run(table->quantized.gemm_int4, smaller, 0, tokens),
                                              expected) == "");
            }
            // Token by token.
            for (int t = 0; t < tokens; t += 3) {
              const auto begin = static_cast<std::size_t>(t * (rows + 3));
              const std::span<const float> one =
                  std::span(expected).subspan(begin, static_cast<std::size_t>(rows + 3));
              CHECK(wkv::test::bit_difference(c.run(table->quantized.gemm_int4, tile, t, 1), one) == "");
            }
          }
        }
      }
    }
  }
}

TEST_CASE("int4 products of a full block of tokens") {
  std::mt19937 random(6);
  Case c(random, 32, 512, wkv::kInt8BlockTokens, 256, false);
  for (const KernelTable* table : wkv::available_kernels()) {
    const int tile = table->quantized.int4_tile_tokens;
    const Floats expected = c.run(wkv::reference::gemm_int4, tile, 0, c.tokens);
    CHECK(wkv::test::bit_difference(c.run(table->quantized.gemm_int4, tile, 0, c.tokens), expected) == "");
  }
}

TEST_CASE("the largest sum of a block of int4 fits") {
  std::mt19937 random(9);
  for (const int code : {0, 15}) {
    for (const int sign : {1, -1}) {
      Case c(random, 32, 256, 1, 256, true);
      std::fill_n(c.panel.begin(), wkv::int4_multipliers_offset(256), static_cast<unsigned char>(code * 17));
      std::fill(c.codes.begin(), c.codes.end(), static_cast<std::int8_t>(127 * sign));
      for (int block = 0; block < 16; ++block) {
        c.offsets[static_cast<std::size_t>(block * c.stride)] = -8 * 16 * 127 * sign;
      }
      for (const KernelTable* table : wkv::available_kernels()) {
        const int tile = table->quantized.int4_tile_tokens;
        const Floats expected = c.run(wkv::reference::gemm_int4, tile, 0, 1);
        CHECK(wkv::test::bit_difference(c.run(table->quantized.gemm_int4, tile, 0, 1), expected) == "");
      }
    }
  }
}
