#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "test/cuda/product_case.h"

using wkv::cuda::Epilogue;
using wkv::cuda::kTileTokens;
using wkv::test::Floats;
using wkv::test::OnDevice;
using Case = wkv::test::ProductCase<wkv::WeightBits::k8>;

namespace {

struct Form {
  int rows;
  int columns;
  int group;
};

// Calls body(text) with each of the instruction sets that products are written for, and with clusters.
template <class Body>
void in_every_form(Body body) {
  wkv::test::on_every_architecture([&](int architecture) {
    body("sm_" + std::to_string(architecture));
    if (architecture != 90) return;
    wkv::cuda::use_clusters(true);
    body("sm_90, clusters");
    wkv::cuda::use_clusters(false);
  });
}

}  // namespace

TEST_SUITE("CUDA gemm_int8") {
  TEST_CASE("has the bits of the naive form, in every shape") {
    std::mt19937 random(1);
    in_every_form([&](const std::string& form_name) {
      for (const Form& form : {Form{32, 32, 16},
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

  TEST_CASE("does not depend on the order of the threads") {
    std::mt19937 random(2);
    const Case c(random, 40, 700, 32, 11, false);
    const Floats forward = c.run();
    wkv::test::in_every_order([&](const std::string& order) {
      CAPTURE(order);
      CHECK(wkv::test::bit_difference(c.run(), forward) == "");
    });
  }

  TEST_CASE("each token has the same bits, alone or not, and those of the naive form") {
    std::mt19937 random(3);
    for (const bool extreme : {false, true}) {
      for (const int group : {64, 256}) {
        Case c(random, 33, 1536, group, 73, false, extreme);
        const Floats all = c.run();
        CHECK(wkv::test::bit_difference(all, c.expected(0, c.tokens)) == "");
        for (const int first : {0, 8, 40}) {
          const std::span<const float> one = std::span(all).subspan(static_cast<std::size_t>(first * c.rows),
                                                                    static_cast<std::size_t>(c.rows));
          CHECK(wkv::test::bit_difference(c.run(first, 1), one) == "");
        }
      }
    }
  }

  TEST_CASE("what becomes of the sums of many tokens is what becomes of those of few") {
    std::mt19937 random(8);
    in_every_form([&](const std::string& form_name) {
      for (const int group : {64, 128, 256}) {
        for (const int rows : {202, 260}) {
          constexpr int kTokens = 77;
          INFO(form_name, ", group ", group, ", ", rows, " rows");
          const Case c(random, rows, 512, group, kTokens, false);
          Case::Buffers buffers(c);
          const auto size = static_cast<std::size_t>(kTokens * rows);
          const Floats before = wkv::test::random_floats(random, size);
          OnDevice<float> gates(wkv::test::random_floats(random, size, -9, 9));
          for (const Epilogue epilogue :
               {Epilogue::kStore, Epilogue::kReluSquared, Epilogue::kAdd, Epilogue::kAddGated}) {
            const auto multiply = [&](OnDevice<float>& output, int first, int count) {
              const std::ptrdiff_t place = std::ptrdiff_t{first} * rows;
              wkv::cuda::gemm_int8(
                  {{c.product(buffers, output.data() + place, first, epilogue, gates.data() + place)},
                   1,
                   count},
                  nullptr);
            };
            OnDevice<float> together(before);
            multiply(together, 0, kTokens);
            OnDevice<float> apart(before);
            for (int first = 0; first < kTokens; first += kTileTokens) {
              multiply(apart, first, std::min(kTileTokens, kTokens - first));
            }
            CHECK(wkv::test::bit_difference(together.values(), apart.values()) == "");
          }
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

  TEST_CASE("many tokens and rows at once") {
    std::mt19937 random(7);
    Case c(random, 4'100, 128, 64, 100, false);
    Case::Buffers buffers(c);
    const auto size = static_cast<std::size_t>(c.tokens * c.rows);
    const Floats expected = c.expected(0, c.tokens);
    OnDevice<float> outputs[] = {OnDevice<float>(size), OnDevice<float>(size), OnDevice<float>(size),
                                 OnDevice<float>(size)};
    wkv::cuda::gemm_int8({{c.product(buffers, outputs[0].data()), c.product(buffers, outputs[1].data()),
                           c.product(buffers, outputs[2].data()), c.product(buffers, outputs[3].data())},
                          4,
                          c.tokens},
                         nullptr);
    for (OnDevice<float>& output : outputs) CHECK(wkv::test::bit_difference(output.values(), expected) == "");
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

  TEST_CASE("a NaN among a token's scales is a NaN in its outputs, and in no other's") {
    std::mt19937 random(5);
    Case c(random, 32, 64, 32, 10, true);
    const Floats before = c.run();
    c.scales[static_cast<std::size_t>(c.stride + 3)] = std::nanf("");
    const Floats after = c.run();
    for (std::size_t i = 0; i < after.size(); ++i) {
      if (i / 32 == 3) {
        CHECK(std::isnan(after[i]));
      } else {
        CHECK(after[i] == before[i]);
      }
    }
  }

  TEST_CASE("several products in one launch, each with what becomes of its sums") {
    std::mt19937 random(6);
    Case first(random, 40, 64, 16, 9, true);
    Case second(random, 32, 96, 32, 9, true);
    Case third(random, 7, 64, 64, 9, true);
    Case fourth(random, 7, 32, 16, 9, true);
    Case::Buffers buffers[] = {Case::Buffers(first), Case::Buffers(second), Case::Buffers(third),
                               Case::Buffers(fourth)};
    const Floats base = wkv::test::random_floats(random, 9 * 32);
    const Floats gates = wkv::test::random_floats(random, 9 * 7, -4, 4);
    const Floats gated = wkv::test::random_floats(random, 9 * 7);
    OnDevice<float> stored(std::size_t{9} * 7);
    OnDevice<float> squared(std::size_t{9} * 40);
    OnDevice<float> added(base);
    OnDevice<float> gate(gates);
    OnDevice<float> added_gated(gated);
    wkv::cuda::gemm_int8({{first.product(buffers[0], squared.data(), 0, Epilogue::kReluSquared),
                           second.product(buffers[1], added.data(), 0, Epilogue::kAdd),
                           third.product(buffers[2], added_gated.data(), 0, Epilogue::kAddGated, gate.data()),
                           fourth.product(buffers[3], stored.data())},
                          4,
                          9},
                         nullptr);
    CHECK(wkv::test::bit_difference(stored.values(), fourth.expected(0, 9)) == "");
    Floats expected = first.expected(0, 9);
    for (float& value : expected) value = value > 0 ? value * value : 0;
    CHECK(wkv::test::bit_difference(squared.values(), expected) == "");
    expected = second.expected(0, 9);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += base[i];
    CHECK(wkv::test::bit_difference(added.values(), expected) == "");
    const Floats sums = third.expected(0, 9);
    expected = gated;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      expected[i] =
          static_cast<float>(static_cast<double>(gated[i]) +
                             static_cast<double>(sums[i]) / (1 + std::exp(-static_cast<double>(gates[i]))));
    }
    // exp and a division of floats: a few units in the last place of the product.
    CHECK(wkv::test::beyond(added_gated.values(), expected, [&](std::size_t i) {
            return 8 * wkv::test::kRounding * (1 + std::abs(static_cast<double>(sums[i])));
          }) == "");
  }
}
