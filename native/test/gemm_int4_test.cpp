#include <doctest/doctest.h>

#include <algorithm>

#include "test/support/quantized_case.h"

using wkv::test::QuantizedCase;

namespace {

// A panel and activations. How numbers are drawn: any, or only those that make sums largest.
struct Case : QuantizedCase {
  Case(std::mt19937& random, int row_count, int column_count, int token_count, int columns_of_a_group,
       bool extreme)
      : QuantizedCase(random, row_count, column_count, token_count, columns_of_a_group) {
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
    for (std::int8_t& x : codes) {
      x = static_cast<std::int8_t>(extreme ? (coin(random) ? 127 : -127) : any(random));
    }
    // Weights have 8 added, and each block of 16 columns a multiplier of its own.
    put_offsets(16, -8);
  }
};

constexpr wkv::test::TestedProduct kProduct{
    &wkv::QuantizedKernels::gemm_int4, &wkv::QuantizedKernels::int4_tile_tokens, &wkv::reference::gemm_int4};

}  // namespace

TEST_CASE("int4 products have the bits of the reference, whatever the instruction set, tile and chunk") {
  wkv::test::check_products<Case>(kProduct, {16, 48, 64, 448, 1040, 4096}, {16, 48, 64, 256});
}

TEST_CASE("int4 products of a full block of tokens") {
  std::mt19937 random(6);
  Case c(random, 32, 512, wkv::kInt8BlockTokens, 256, false);
  check_at_once(kProduct, c);
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
      check_at_once(kProduct, c);
    }
  }
}
