#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "backend/cpu/memory.h"
#include "test/support/guarded.h"
#include "test/support/numbers.h"

using wkv::KernelTable;
using wkv::test::Floats;
using wkv::test::Guarded;

namespace {

// A panel and activations. How codes are drawn: any, or only the extremes.
struct Case {
  Case(std::mt19937& random, int row_count, int column_count, int token_count, int columns_of_a_group,
       bool extreme)
      : rows(row_count), padded(column_count), tokens(token_count), group(columns_of_a_group) {
    std::uniform_int_distribution<int> any(-127, 127);
    std::bernoulli_distribution coin;
    const auto code = [&] { return extreme ? (coin(random) ? 127 : -127) : any(random); };
    panel.resize(wkv::int8_panel_bytes(padded, group));
    const int groups = (padded + group - 1) / group;
    for (int index = 0; index < groups; ++index) {
      const int columns = std::min(group, padded - index * group);
      unsigned char* place = panel.data() + wkv::int8_group_offset(index, group);
      for (int i = 0; i < columns * wkv::kInt8PanelRows; ++i) {
        *place++ = static_cast<unsigned char>(code() + 128);
      }
      const Floats of_group = wkv::test::random_floats(random, wkv::kInt8PanelRows, 0.001F, 0.1F);
      std::memcpy(place, of_group.data(), of_group.size() * sizeof(float));
    }
    codes.resize(static_cast<std::size_t>(tokens * padded));
    for (std::int8_t& x : codes) x = static_cast<std::int8_t>(code());
    stride = tokens + 5;
    scales = wkv::test::random_floats(random, static_cast<std::size_t>(groups * stride), 0.001F, 0.1F);
    offsets.resize(scales.size());
  }

  // The codes as a kernel with these tiles wants them, of the tokens [first, first + count).
  std::vector<std::int8_t> tiled(int tile_tokens, int first, int count) {
    std::vector<std::int8_t> result(static_cast<std::size_t>(count * padded));
    for (int t = 0; t < count; ++t) {
      const int tile = t / tile_tokens * tile_tokens;
      const int width = std::min(count - tile, tile_tokens);
      for (int column = 0; column < padded; ++column) {
        const int place = tile * padded + (column / 16 * width + t - tile) * 16 + column % 16;
        result[static_cast<std::size_t>(place)] =
            codes[static_cast<std::size_t>((first + t) * padded + column)];
      }
      for (int begin = 0; begin < padded; begin += group) {
        int sum = 0;
        for (int column = begin; column < std::min(begin + group, padded); ++column) {
          sum += codes[static_cast<std::size_t>((first + t) * padded + column)];
        }
        offsets[static_cast<std::size_t>(begin / group * stride + first + t)] = -128 * sum;
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

TEST_CASE("int8 products have the bits of the reference, whatever the instruction set, tile and chunk") {
  std::mt19937 random(5);
  for (const KernelTable* table : wkv::available_kernels()) {
    const int tile = table->quantized.int8_tile_tokens;
    for (const bool extreme : {false, true}) {
      for (const int columns : {16, 64, 448, 1040, 4096}) {
        for (const int group : {16, 64, 256, 65'536}) {
          for (const int tokens : {1, 2, 3, 4, 5, 11, 12, 13, 29}) {
            if (columns == 4096 && tokens > 5) continue;
            const int rows = tokens % 3 == 0 ? 32 : tokens % 3 == 1 ? 17 : 5;
            Case c(random, rows, columns, tokens, group, extreme);
            INFO(table->name, ", ", rows, " rows, ", columns, " columns, ", tokens, " tokens, group ", group);
            const Floats expected = c.run(wkv::reference::gemm_int8, tile, 0, tokens);
            CHECK(wkv::test::bit_difference(c.run(table->quantized.gemm_int8, tile, 0, tokens), expected) ==
                  "");
            for (int smaller = 1; group == 64 && smaller < tile; ++smaller) {
              INFO("tiles of ", smaller);
              CHECK(wkv::test::bit_difference(c.run(table->quantized.gemm_int8, smaller, 0, tokens),
                                              expected) == "");
            }
            // Token by token.
            for (int t = 0; t < tokens; t += 3) {
              const auto begin = static_cast<std::size_t>(t * (rows + 3));
              const std::span<const float> one =
                  std::span(expected).subspan(begin, static_cast<std::size_t>(rows + 3));
              CHECK(wkv::test::bit_difference(c.run(table->quantized.gemm_int8, tile, t, 1), one) == "");
            }
          }
        }
      }
    }
  }
}

TEST_CASE("int8 products of a full block of tokens") {
  std::mt19937 random(6);
  Case c(random, 32, 256, wkv::kInt8BlockTokens, 128, false);
  for (const KernelTable* table : wkv::available_kernels()) {
    const int tile = table->quantized.int8_tile_tokens;
    const Floats expected = c.run(wkv::reference::gemm_int8, tile, 0, c.tokens);
    CHECK(wkv::test::bit_difference(c.run(table->quantized.gemm_int8, tile, 0, c.tokens), expected) == "");
  }
}

TEST_CASE("the largest sum of a group fits") {
  std::mt19937 random(9);
  Case c(random, 32, wkv::kMostGroup, 1, wkv::kMostGroup, false);
  for (const int sign : {1, -1}) {
    std::fill(c.codes.begin(), c.codes.end(), static_cast<std::int8_t>(127));
    std::fill_n(c.panel.begin(), wkv::kMostGroup * wkv::kInt8PanelRows,
                static_cast<unsigned char>(128 + sign * 127));
    for (const KernelTable* table : wkv::available_kernels()) {
      const Floats expected = c.run(wkv::reference::gemm_int8, table->quantized.int8_tile_tokens, 0, 1);
      CHECK(expected[0] * static_cast<float>(sign) > 0);
      CHECK(wkv::test::bit_difference(
                c.run(table->quantized.gemm_int8, table->quantized.int8_tile_tokens, 0, 1), expected) == "");
    }
  }
}
