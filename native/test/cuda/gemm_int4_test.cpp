#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "kernels/gemm_int4/cuda_weights.cuh"
#include "test/cuda/product_case.h"

using wkv::test::Floats;
using wkv::test::ProductForm;
using Case = wkv::test::ProductCase<wkv::WeightBits::k4>;

TEST_SUITE("CUDA gemm_int4") {
  TEST_CASE("has the bits of the naive form, in every shape") {
    std::mt19937 random(1);
    wkv::test::on_every_architecture([&](int architecture) {
      // Whole rows, groups and rows of an odd number of units, also of more groups than warps; of many tokens
      // also more groups than stages.
      for (const ProductForm& form : {ProductForm{32, 32, 16},
                                      {5, 16, 16},
                                      {40, 100, 112},
                                      {33, 200, 32},
                                      {64, 304, 48},
                                      {70, 520, 256},
                                      {32, 48, 48},
                                      {40, 1000, 48},
                                      {17, 1040, 256},
                                      {130, 128, 64},
                                      {67, 512, 256},
                                      {130, 2048, 256},
                                      {257, 256, 128}}) {
        for (const int tokens : {1, 8, 9, 35, 130}) {
          if (tokens == 130 && form.rows < 60) continue;
          INFO("sm_", architecture, ", ", form.rows, " x ", form.columns, ", group ", form.group, ", ",
               tokens, " tokens");
          Case c(random, form.rows, form.columns, form.group, tokens, false);
          CHECK(wkv::test::bit_difference(c.run(), c.expected(0, tokens)) == "");
        }
      }
    });
  }

  TEST_CASE("the layout that kernels read is the host's") {
    for (const auto& [columns, group] : {std::pair{16, 16}, {48, 16}, {304, 48}, {1040, 256}, {4096, 256}}) {
      const wkv::cuda::Cut cut = wkv::cuda::int4_cut_of(columns, group);
      CHECK(static_cast<std::size_t>(cut.panel_bytes) == wkv::int4_panel_bytes(columns, group));
      CHECK(wkv::cuda::int4_multipliers_offset(cut) == wkv::int4_multipliers_offset(columns));
      CHECK(wkv::cuda::int4_scales_offset(cut) == wkv::int4_scales_offset(columns));
    }
  }

  TEST_CASE("the largest sum of a group fits") {
    // Codes of -8, all multipliers 127 or its negative.
    std::mt19937 random(4);
    for (const int index : {0x77, 0xff}) {
      for (const int tokens : {1, 140}) {
        Case c(random, 64, wkv::kMaxInt4Group, wkv::kMaxInt4Group, tokens, true, true);
        std::fill(c.codes.begin(), c.codes.end(), static_cast<std::int8_t>(127));
        for (std::size_t panel = 0; panel < c.panels.size(); panel += c.panel_bytes()) {
          const auto begin = c.panels.begin() + static_cast<std::ptrdiff_t>(panel);
          std::fill(begin + wkv::int4_multipliers_offset(c.padded), begin + wkv::int4_scales_offset(c.padded),
                    static_cast<unsigned char>(index));
          std::fill_n(begin + wkv::int4_scales_offset(c.padded), wkv::kInt8PanelRows,
                      static_cast<unsigned char>(0xff));
        }
        const Floats expected = c.expected(0, tokens);
        CHECK(std::abs(expected[0]) > 9e5F);
        CHECK((expected[0] < 0) == (index == 0x77));
        CHECK(wkv::test::bit_difference(c.run(), expected) == "");
      }
    }
  }
}
