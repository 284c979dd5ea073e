#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "kernels/gated_norm/cuda.h"
#include "test/cuda/quantized.h"

using wkv::cuda::Gate;
using wkv::test::Floats;
using wkv::test::OnDevice;
using wkv::test::QuantizedNumbers;
using wkv::test::QuantizedOnDevice;

namespace {

constexpr float kEpsilon = 64e-5F;

struct Form {
  int heads;
  int head_size;
  int group;
};

struct Case {
  Case(std::mt19937& random, const Form& form, int token_count, bool scaled, Gate which = Gate::kSilu,
       bool with_bonus = false)
      : tokens(token_count),
        head_size(form.head_size),
        columns(form.heads * head_size),
        group(form.group),
        gate(which) {
    const auto size = static_cast<std::size_t>(columns);
    const auto numbers = size * static_cast<std::size_t>(tokens);
    y = wkv::test::random_floats(random, numbers, -9, 11);
    g = wkv::test::random_floats(random, numbers, -6, 6);
    weight = wkv::test::random_floats(random, size, 0.5F, 2);
    bias = wkv::test::random_floats(random, size);
    if (scaled) input_scales = wkv::test::random_floats(random, size, 0.2F, 4);
    if (!with_bonus) return;
    v = wkv::test::random_floats(random, numbers, -3, 3);
    bonus = wkv::test::random_floats(random, static_cast<std::size_t>(form.heads * tokens), -2, 2);
  }

  int tokens, head_size, columns, group;
  Gate gate;
  Floats y, g, weight, bias, input_scales;
  Floats v, bonus;  // of RWKV-7, or nothing
};

// The CPU's kernel finds the sum itself: here of a single product.
void add_bonus(const Case& c, std::ptrdiff_t at, float* y) {
  const auto size = static_cast<std::size_t>(c.head_size);
  Floats r(size, 0.0F);
  r[0] = c.bonus[static_cast<std::size_t>(at / c.head_size)];
  const Floats ones(size, 1.0F);
  wkv::selected_kernels().wkv7_bonus({.y = y,
                                      .r = r.data(),
                                      .k = ones.data(),
                                      .v = c.v.data() + at,
                                      .r_k = ones.data(),
                                      .head_size = c.head_size});
}

// The CPU's kernels one after another, as the engine calls them.
QuantizedNumbers expected(const Case& c) {
  const wkv::KernelTable& kernels = wkv::selected_kernels();
  QuantizedNumbers result(c.tokens, c.columns, c.group);
  for (int token = 0; token < c.tokens; ++token) {
    const auto begin = c.y.begin() + static_cast<std::ptrdiff_t>(token) * c.columns;
    Floats row(begin, begin + c.columns);
    for (int channel = 0; channel < c.columns; channel += c.head_size) {
      float* const y = row.data() + channel;
      const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(token) * c.columns + channel;
      kernels.layer_norm(y, c.weight.data() + channel, c.bias.data() + channel, kEpsilon, c.head_size, y);
      if (!c.bonus.empty()) add_bonus(c, at, y);
      if (c.gate == Gate::kSilu) kernels.multiply_silu(y, c.g.data() + at, c.head_size);
      if (c.gate == Gate::kPlain) kernels.multiply(y, c.g.data() + at, c.head_size);
    }
    result.quantize(row.data(), c.input_scales.empty() ? nullptr : c.input_scales.data(), token);
  }
  return result;
}

std::string difference(const Case& c) {
  OnDevice<float> y(c.y);
  OnDevice<float> g(c.g);
  OnDevice<float> weight(c.weight);
  OnDevice<float> bias(c.bias);
  OnDevice<float> input_scales(c.input_scales);
  OnDevice<float> v(c.v);
  OnDevice<float> bonus(c.bonus);
  QuantizedOnDevice out(QuantizedNumbers(c.tokens, c.columns, c.group));
  wkv::cuda::gated_norm({.y = y.data(),
                         .g = g.data(),
                         .gate = c.gate,
                         .v = c.bonus.empty() ? nullptr : v.data(),
                         .bonus = c.bonus.empty() ? nullptr : bonus.data(),
                         .norm = {weight.data(), bias.data()},
                         .epsilon = kEpsilon,
                         .input_scales = c.input_scales.empty() ? nullptr : input_scales.data(),
                         .out = out.out(),
                         .tokens = c.tokens,
                         .head_size = c.head_size},
                        nullptr);
  return out.difference(expected(c));
}

}  // namespace

TEST_SUITE("CUDA gated norm") {
  TEST_CASE("has the bits of the CPU's kernels one after another, for heads and groups of any size") {
    std::mt19937 random(1);
    wkv::test::in_every_order([&](const std::string& order) {
      for (const Form& form : {Form{4, 64, 256},
                               {9, 64, 256},
                               {6, 64, 128},
                               {3, 64, 64},
                               {3, 64, 32},
                               {2, 64, 16},
                               {5, 64, 48},
                               {8, 64, 512},
                               {5, 24, 16},
                               {3, 10, 32},
                               {2, 100, 64},
                               {1, 1024, 256},
                               {2, 600, 1200},
                               {40, 1, 16}}) {
        INFO(order, ", ", form.heads, " heads of ", form.head_size, ", groups of ", form.group);
        for (const bool scaled : {false, true}) CHECK(difference(Case(random, form, 3, scaled)) == "");
      }
    });
  }

  TEST_CASE("every gate, with RWKV-7's bonus and without it") {
    std::mt19937 random(4);
    wkv::test::in_every_order([&](const std::string& order) {
      for (const Gate gate : {Gate::kNone, Gate::kSilu, Gate::kPlain}) {
        for (const bool bonus : {false, true}) {
          for (const Form& form : {Form{9, 64, 256},
                                   {8, 64, 128},
                                   {6, 64, 128},
                                   {3, 64, 32},
                                   {5, 64, 48},
                                   {8, 64, 512},
                                   {5, 24, 16},
                                   {3, 10, 32},
                                   {40, 1, 16}}) {
            INFO(order, ", gate ", static_cast<int>(gate), bonus ? ", bonus, " : ", ", form.heads,
                 " heads of ", form.head_size, ", groups of ", form.group);
            for (const bool scaled : {false, true}) {
              CHECK(difference(Case(random, form, 3, scaled, gate, bonus)) == "");
            }
          }
        }
      }
    });
  }

  TEST_CASE("NaN and infinity reach the scales that they reach on the CPU") {
    std::mt19937 random(2);
    const auto check = [&](Gate gate, bool bonus, Floats Case::*where, std::size_t (*place)(const Case&)) {
      for (const float bad : {std::nanf(""), -std::nanf(""), std::numeric_limits<float>::infinity()}) {
        for (const Form& form : {Form{6, 64, 128}, {7, 20, 32}}) {
          Case c(random, form, 2, true, gate, bonus);
          (c.*where)[place(c)] = bad;
          CHECK(difference(c) == "");
        }
      }
    };
    // Of the second token.
    const auto of_column = [](const Case& c) { return static_cast<std::size_t>(c.columns + 21); };
    const auto of_head = [](const Case& c) { return static_cast<std::size_t>(c.columns / c.head_size + 1); };
    for (const Gate gate : {Gate::kNone, Gate::kSilu, Gate::kPlain}) {
      check(gate, false, &Case::y, of_column);
      check(gate, false, &Case::g, of_column);  // without a gate nobody looks at it
      check(gate, true, &Case::v, of_column);
      check(gate, true, &Case::bonus, of_head);
    }
  }

  TEST_CASE("heads of equal numbers, whose deviation is 0, and zeros of either sign") {
    std::mt19937 random(3);
    Case c(random, {4, 64, 256}, 2, true);
    std::fill_n(c.y.begin(), 64, 0.5F);
    std::fill_n(c.y.begin() + 64, 64, -0.0F);
    std::fill_n(c.g.begin() + 128, 64, -0.0F);
    CHECK(difference(c) == "");
  }
}
