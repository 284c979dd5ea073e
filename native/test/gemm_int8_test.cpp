#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "test/support/quantized_case.h"

using wkv::test::Floats;
using wkv::test::QuantizedCase;

namespace {

// A panel and activations. How codes are drawn: any, or only the extremes.
struct Case : QuantizedCase {
  Case(std::mt19937& random, int row_count, int column_count, int token_count, int columns_of_a_group,
       bool extreme)
      : QuantizedCase(random, row_count, column_count, token_count, columns_of_a_group) {
    std::uniform_int_distribution<int> any(-127, 127);
    std::bernoulli_distribution coin;
    const auto code = [&] { return extreme ? (coin(random) ? 127 : -127) : any(random); };
    panel.resize(wkv::int8_panel_bytes(padded, group));
    for (int index = 0; index * group < padded; ++index) {
      const int columns = std::min(group, padded - index * group);
      unsigned char* place = panel.data() + wkv::int8_group_offset(index, group);
      for (int i = 0; i < columns * wkv::kInt8PanelRows; ++i) {
        *place++ = static_cast<unsigned char>(code() + 128);
      }
      const Floats of_group = wkv::test::random_floats(random, wkv::kInt8PanelRows, 0.001F, 0.1F);
      std::memcpy(place, of_group.data(), of_group.size() * sizeof(float));
    }
    for (std::int8_t& x : codes) x = static_cast<std::int8_t>(code());
    put_offsets();
  }

  // Weights have 128 added.
  void put_offsets() { QuantizedCase::put_offsets(group, -128); }
};

constexpr wkv::test::TestedProduct kProduct{
    &wkv::QuantizedKernels::gemm_int8, &wkv::QuantizedKernels::int8_tile_tokens, &wkv::reference::gemm_int8};

}  // namespace

TEST_CASE("int8 products have the bits of the reference, whatever the instruction set, tile and chunk") {
  wkv::test::check_products<Case>(kProduct, {16, 64, 448, 1040, 4096}, {16, 64, 256, 65'536});
}

TEST_CASE("int8 products of a full block of tokens") {
  std::mt19937 random(6);
  Case c(random, 32, 256, wkv::kInt8BlockTokens, 128, false);
  check_at_once(kProduct, c);
}

TEST_CASE("the largest sum of a group fits") {
  std::mt19937 random(9);
  Case c(random, 32, wkv::kMaxGroup, 1, wkv::kMaxGroup, false);
  for (const int sign : {1, -1}) {
    std::fill(c.codes.begin(), c.codes.end(), static_cast<std::int8_t>(127));
    std::fill_n(c.panel.begin(), wkv::kMaxGroup * wkv::kInt8PanelRows,
                static_cast<unsigned char>(128 + sign * 127));
    c.put_offsets();
    CHECK(check_at_once(kProduct, c)[0] * static_cast<float>(sign) > 0);
  }
}
