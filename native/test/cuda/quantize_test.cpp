#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "test/cuda/quantized.h"

using wkv::test::Floats;
using wkv::test::OnDevice;
using wkv::test::QuantizedNumbers;
using wkv::test::QuantizedOnDevice;

namespace {

struct Form {
  int tokens;
  int columns;
  int group;
};

// "" if the tokens x [tokens][columns] become what the naive form makes of them, which it leaves in `naive`.
std::string difference(const Floats& x, const Floats& input_scales, QuantizedNumbers& naive) {
  QuantizedOnDevice result(naive);
  OnDevice<float> input(x);
  OnDevice<float> factors(input_scales);
  wkv::cuda::quantize(
      {input.data(), input_scales.empty() ? nullptr : factors.data(), result.out(), naive.tokens}, nullptr);
  for (int token = 0; token < naive.tokens; ++token) {
    naive.quantize(x.data() + static_cast<std::ptrdiff_t>(token) * naive.columns,
                   input_scales.empty() ? nullptr : input_scales.data(), token,
                   wkv::reference::quantize_activations);
  }
  return result.difference(naive);
}

}  // namespace

TEST_SUITE("CUDA quantize") {
  TEST_CASE("has the bits of the naive form") {
    std::mt19937 random(1);
    for (const Form& form : {Form{1, 16, 16},
                             {9, 100, 16},
                             {3, 250, 32},
                             {17, 700, 48},
                             {2, 1040, 256},
                             {1, 4096, 4096},
                             {9, 1030, 128},
                             {2, 331, 64},
                             {3, 777, 256},
                             {2, 512, 256},
                             {3, 1024, 64}}) {
      const int tokens = form.tokens;
      const int columns = form.columns;
      const int group = form.group;
      INFO(tokens, " tokens, ", columns, " columns, group ", group);
      Floats x = wkv::test::random_floats(random, static_cast<std::size_t>(tokens * columns), -5, 5);
      // A group of zeros, one too small to tell from it, and halves between two codes.
      std::fill_n(x.begin(), std::min(16, columns), 0.0F);
      if (columns > 64) std::fill_n(x.begin() + 48, 16, 1e-31F);
      for (std::size_t i = x.size() / 2; i < x.size(); i += 7) x[i] = std::nearbyint(x[i]) / 2;
      const Floats factors = wkv::test::random_floats(random, static_cast<std::size_t>(columns), 0.1F, 9);
      for (const Floats& input_scales : {Floats{}, factors}) {
        QuantizedNumbers naive(tokens, columns, group);
        CHECK(difference(x, input_scales, naive) == "");
      }
    }
  }

  TEST_CASE("NaN and infinity make their group's scale NaN, and touch no other group") {
    std::mt19937 random(2);
    // The last is a NaN whose lowest byte could be taken for a code.
    for (const float bad : {std::nanf(""), -std::nanf(""), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(), std::bit_cast<float>(0x7fc00055U)}) {
      for (const Form& form : {Form{3, 96, 32}, {2, 512, 256}, {2, 300, 256}, {2, 96, 48}}) {
        CAPTURE(form.columns);
        const auto columns = static_cast<std::size_t>(form.columns);
        Floats x = wkv::test::random_floats(random, static_cast<std::size_t>(form.tokens) * columns);
        x[columns + 40] = bad;
        QuantizedNumbers naive(form.tokens, form.columns, form.group);
        CHECK(difference(x, {}, naive) == "");
        const auto group = static_cast<std::size_t>(40 / form.group);
        CHECK(std::isnan(naive.scales[group * wkv::cuda::kTokenStep + 1]));
      }
    }
  }
}
