#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "test/cuda/product_case.h"

using wkv::cuda::Epilogue;
using wkv::cuda::kTileTokens;
using wkv::test::Floats;
using wkv::test::in_every_form;
using wkv::test::ProductForm;
using Case = wkv::test::ProductCase<wkv::WeightBits::k8>;

TEST_SUITE("CUDA gemm_int8") {
  TEST_CASE("has the bits of the naive form, in every shape") {
    std::mt19937 random(1);
    in_every_form([&](const std::string& form_name) {
      for (const ProductForm& form : {ProductForm{32, 32, 16},
                                      {5, 16, 16},
                                      {40, 100, 16},
                                      {33, 200, 32},
                                      {64, 304, 48},
                                      {32, 1040, 64},
                                      {70, 520, 256},
                                      {32, 48, 48},
                                      {17, 1024, 1024},
                                      {130, 128, 64},
                                      {67, 512, 256},
                                      {130, 768, 256},
                                      {257, 256, 128}}) {
        for (const int tokens : {1, 8, 9, 35, 130}) {
          if (tokens == 130 && form.rows < 60) continue;
          INFO(form_name, ", ", form.rows, " x ", form.columns, ", group ", form.group, ", ", tokens,
               " tokens");
          Case c(random, form.rows, form.columns, form.group, tokens, false);
          CHECK(wkv::test::bit_difference(c.run(), c.expected(0, tokens)) == "");
        }
      }
    });
  }

  TEST_CASE("clusters of two and of four blocks, whose stages come around more than once, in every order") {
    std::mt19937 random(9);
    wkv::cuda::simt::set_architecture(90);
    for (const auto& [rows, columns, group, tokens] : {std::array{130, 2304, 256, 200},
                                                       {513, 256, 256, 100},
                                                       {40, 1152, 128, 256},
                                                       {257, 512, 128, 300}}) {
      Case c(random, rows, columns, group, tokens, false);
      const Floats expected = c.expected(0, tokens);
      wkv::cuda::use_clusters(true);
      wkv::test::in_every_order([&](const std::string& order) {
        INFO(rows, " x ", columns, ", group ", group, ", ", tokens, " tokens, ", order);
        CHECK(wkv::test::bit_difference(c.run(), expected) == "");
      });
      wkv::cuda::use_clusters(false);
    }
    wkv::cuda::simt::set_architecture(80);
  }

  TEST_CASE("the largest sum of a group fits") {
    std::mt19937 random(4);
    Case c(random, 32, wkv::kMaxGroup, wkv::kMaxGroup, 1, true);
    std::fill(c.codes.begin(), c.codes.end(), static_cast<std::int8_t>(127));
    for (int t = 0; t < kTileTokens; ++t)
      c.offsets[static_cast<std::size_t>(t)] = -128 * 127 * wkv::kMaxGroup;
    for (const int sign : {1, -1}) {
      std::fill_n(c.panels.begin(), wkv::kMaxGroup * wkv::kInt8PanelRows,
                  static_cast<unsigned char>(128 + sign * 127));
      const Floats expected = c.expected(0, 1);
      CHECK(expected[0] * static_cast<float>(sign) > 5e8F);
      CHECK(wkv::test::bit_difference(c.run(), expected) == "");
    }
  }
}
