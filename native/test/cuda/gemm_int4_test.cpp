#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "test/cuda/product_case.h"

using wkv::cuda::Epilogue;
using wkv::cuda::kTileTokens;
using wkv::test::Floats;
using wkv::test::OnDevice;
using Case = wkv::test::ProductCase<wkv::WeightBits::k4>;

namespace {

struct Form {
  int rows;
  int columns;
  int group;
};

}  // namespace

TEST_SUITE("CUDA gemm_int4") {
  TEST_CASE("has the bits of the naive form, in every shape") {
    std::mt19937 random(1);
    wkv::test::on_every_architecture([&](int architecture) {
      // Whole rows, groups of an odd number of units, rows of an odd number, groups of many tokens.
      for (const Form& form : {Form{32, 32, 16},
                               {5, 16, 16},
                               {40, 100, 112},
                               {33, 200, 32},
                               {64, 304, 48},
                               {70, 520, 256},
                               {32, 48, 48},
                               {17, 1040, 256},
                               {130, 128, 64},
                               {67, 512, 256},
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

  TEST_CASE("does not depend on the order of the threads") {
    std::mt19937 random(2);
    for (const auto& [rows, tokens] : {std::pair{40, 11}, {140, 150}}) {
      const Case c(random, rows, 768, 256, tokens, false);
      const Floats forward = c.run();
      wkv::test::in_every_order([&, tokens = tokens](const std::string& order) {
        INFO(order, ", ", tokens, " tokens");
        CHECK(wkv::test::bit_difference(c.run(), forward) == "");
      });
    }
  }

  TEST_CASE("each token has the same bits, alone or not") {
    std::mt19937 random(3);
    for (const int group : {64, 256}) {
      Case c(random, 33, 1536, group, 73, false);
      const Floats all = c.run();
      for (const int first : {0, 8, 40}) {
        const std::span<const float> one = std::span(all).subspan(static_cast<std::size_t>(first * c.rows),
                                                                  static_cast<std::size_t>(c.rows));
        CHECK(wkv::test::bit_difference(c.run(first, 1), one) == "");
      }
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

  TEST_CASE("several products in one launch, each with what becomes of its sums") {
    std::mt19937 random(6);
    for (const int tokens : {9, 140}) {
      const Case first(random, 160, 256, 64, tokens, false);
      const Case second(random, 70, 128, 128, tokens, false);
      Case::Buffers buffers[] = {Case::Buffers(first), Case::Buffers(second)};
      const Floats base = wkv::test::random_floats(random, static_cast<std::size_t>(tokens * 70));
      OnDevice<float> squared(static_cast<std::size_t>(tokens * 160));
      OnDevice<float> added(base);
      Case::multiply({{first.product(buffers[0], squared.data(), 0, Epilogue::kReluSquared),
                       second.product(buffers[1], added.data(), 0, Epilogue::kAdd)},
                      2,
                      tokens});
      Floats expected = Case(first).expected(0, tokens);
      for (float& value : expected) value = value > 0 ? value * value : 0;
      CHECK(wkv::test::bit_difference(squared.values(), expected) == "");
      expected = Case(second).expected(0, tokens);
      for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += base[i];
      CHECK(wkv::test::bit_difference(added.values(), expected) == "");
    }
  }
}
