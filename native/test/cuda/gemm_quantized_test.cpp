// What products of 8 and of 4 bits have in common.

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "test/cuda/product_case.h"

using wkv::cuda::Epilogue;
using wkv::cuda::kTileTokens;
using wkv::test::Floats;
using wkv::test::in_every_form;
using wkv::test::OnDevice;
using Int8Case = wkv::test::ProductCase<wkv::WeightBits::k8>;
using Int4Case = wkv::test::ProductCase<wkv::WeightBits::k4>;

TEST_SUITE("CUDA gemm_int8 and gemm_int4") {
  TEST_CASE_TEMPLATE("does not depend on the order of the threads", Case, Int8Case, Int4Case) {
    std::mt19937 random(2);
    for (const auto& [rows, columns, group, tokens] : {std::array{40, 700, 32, 11}, {140, 768, 256, 150}}) {
      const Case c(random, rows, columns, group, tokens, false);
      const Floats forward = c.run();
      wkv::test::in_every_order([&, tokens = tokens](const std::string& order) {
        INFO(order, ", ", tokens, " tokens");
        CHECK(wkv::test::bit_difference(c.run(), forward) == "");
      });
    }
  }

  TEST_CASE_TEMPLATE("each token has the same bits, alone or not, and those of the naive form", Case,
                     Int8Case, Int4Case) {
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

  TEST_CASE_TEMPLATE("what becomes of the sums of many tokens is what becomes of those of few", Case,
                     Int8Case, Int4Case) {
    using Buffers = typename Case::Buffers;
    std::mt19937 random(8);
    for (const int group : {64, 128, 256}) {
      for (const int rows : {202, 260}) {
        if (group == 128 && rows == 260) continue;  // others have this group, and others these rows
        constexpr int kTokens = 77;
        const Case c(random, rows, 512, group, kTokens, false);
        Buffers buffers(c);
        const auto size = static_cast<std::size_t>(kTokens * rows);
        const Floats before = wkv::test::random_floats(random, size);
        OnDevice<float> gates(wkv::test::random_floats(random, size, -9, 9));
        for (const Epilogue epilogue :
             {Epilogue::kStore, Epilogue::kReluSquared, Epilogue::kAdd, Epilogue::kAddGated}) {
          const auto multiply = [&](OnDevice<float>& output, int first, int count) {
            const std::ptrdiff_t place = std::ptrdiff_t{first} * rows;
            Case::multiply(
                {{c.product(buffers, output.data() + place, first, epilogue, gates.data() + place)},
                 1,
                 count});
          };
          OnDevice<float> apart(before);
          for (int first = 0; first < kTokens; first += kTileTokens) {
            multiply(apart, first, std::min(kTileTokens, kTokens - first));
          }
          const Floats expected = apart.values();
          in_every_form([&](const std::string& form_name) {
            INFO(form_name, ", group ", group, ", ", rows, " rows");
            OnDevice<float> together(before);
            multiply(together, 0, kTokens);
            CHECK(wkv::test::bit_difference(together.values(), expected) == "");
          });
        }
      }
    }
  }

  TEST_CASE_TEMPLATE("many tokens and rows at once", Case, Int8Case, Int4Case) {
    using Buffers = typename Case::Buffers;
    std::mt19937 random(7);
    Case c(random, 4'100, 128, 64, 100, false);
    Buffers buffers(c);
    const auto size = static_cast<std::size_t>(c.tokens * c.rows);
    const Floats expected = c.expected(0, c.tokens);
    OnDevice<float> outputs[] = {OnDevice<float>(size), OnDevice<float>(size), OnDevice<float>(size),
                                 OnDevice<float>(size)};
    Case::multiply({{c.product(buffers, outputs[0].data()), c.product(buffers, outputs[1].data()),
                     c.product(buffers, outputs[2].data()), c.product(buffers, outputs[3].data())},
                    4,
                    c.tokens});
    for (OnDevice<float>& output : outputs) CHECK(wkv::test::bit_difference(output.values(), expected) == "");
  }

  TEST_CASE_TEMPLATE("a NaN among a token's scales is a NaN in its outputs, and in no other's", Case,
                     Int8Case, Int4Case) {
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

  TEST_CASE_TEMPLATE("several products in one launch, each with what becomes of its sums", Case, Int8Case,
                     Int4Case) {
    using Buffers = typename Case::Buffers;
    std::mt19937 random(6);
    Case first(random, 40, 64, 16, 9, true);
    Case second(random, 32, 96, 32, 9, true);
    Case third(random, 7, 64, 64, 9, true);
    Case fourth(random, 7, 32, 16, 9, true);
    Buffers buffers[] = {Buffers(first), Buffers(second), Buffers(third), Buffers(fourth)};
    const Floats base = wkv::test::random_floats(random, 9 * 32);
    const Floats gates = wkv::test::random_floats(random, 9 * 7, -4, 4);
    const Floats gated = wkv::test::random_floats(random, 9 * 7);
    OnDevice<float> stored(std::size_t{9} * 7);
    OnDevice<float> squared(std::size_t{9} * 40);
    OnDevice<float> added(base);
    OnDevice<float> gate(gates);
    OnDevice<float> added_gated(gated);
    Case::multiply({{first.product(buffers[0], squared.data(), 0, Epilogue::kReluSquared),
                     second.product(buffers[1], added.data(), 0, Epilogue::kAdd),
                     third.product(buffers[2], added_gated.data(), 0, Epilogue::kAddGated, gate.data()),
                     fourth.product(buffers[3], stored.data())},
                    4,
                    9});
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
