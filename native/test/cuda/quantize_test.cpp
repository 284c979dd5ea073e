#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "kernels/quantize/cuda.h"
#include "kernels/quantize/quantize.h"
#include "test/cuda/on_device.h"
#include "test/support/numbers.h"

using wkv::test::Floats;
using wkv::test::OnDevice;

namespace {

struct Form {
  int tokens;
  int columns;
  int group;
};

struct Result {
  std::vector<std::int8_t> codes;
  Floats scales;
};

int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

Result empty(int tokens, int columns, int group) {
  const auto stride = static_cast<std::size_t>(round_up(tokens, wkv::cuda::kTokenStep));
  const auto padded = static_cast<std::size_t>(round_up(columns, 16));
  const auto groups = static_cast<std::size_t>((columns + group - 1) / group);
  return {std::vector<std::int8_t>(stride * padded, 99), Floats(stride * groups, -1)};
}

Result run(const Floats& x, const Floats& input_scales, int tokens, int columns, int group) {
  const Result before = empty(tokens, columns, group);
  OnDevice<float> input(x);
  OnDevice<float> factors(input_scales);
  OnDevice<std::int8_t> codes(before.codes);
  OnDevice<float> scales(before.scales);
  wkv::cuda::quantize({input.data(),
                       input_scales.empty() ? nullptr : factors.data(),
                       {codes.data(), scales.data(), round_up(tokens, wkv::cuda::kTokenStep), columns, group},
                       tokens},
                      nullptr);
  return {codes.values(), scales.values()};
}

Result expected(const Floats& x, const Floats& input_scales, int tokens, int columns, int group) {
  Result result = empty(tokens, columns, group);
  std::vector<std::int32_t> offsets(result.scales.size());  // which only the CPU has
  for (int token = 0; token < tokens; ++token) {
    wkv::reference::quantize_activations(
        {.x = x.data() + static_cast<std::ptrdiff_t>(token) * columns,
         .input_scales = input_scales.empty() ? nullptr : input_scales.data(),
         .out = {wkv::cuda::kTileTokens, result.codes.data(), result.scales.data(), offsets.data(),
                 round_up(tokens, wkv::cuda::kTokenStep)},
         .token = token,
         // Whole tiles, as if there were more tokens.
         .tokens = round_up(tokens, wkv::cuda::kTileTokens),
         .columns = columns,
         .group = group,
         .weights = wkv::WeightBits::k8});
  }
  return result;
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
        const Result result = run(x, input_scales, tokens, columns, group);
        const Result naive = expected(x, input_scales, tokens, columns, group);
        CHECK(result.codes == naive.codes);
        CHECK(wkv::test::bit_difference(result.scales, naive.scales) == "");
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
        const Result result = run(x, {}, form.tokens, form.columns, form.group);
        const Result naive = expected(x, {}, form.tokens, form.columns, form.group);
        const auto group = static_cast<std::size_t>(40 / form.group);
        CHECK(std::isnan(result.scales[group * wkv::cuda::kTokenStep + 1]));
        CHECK(wkv::test::bit_difference(result.scales, naive.scales) == "");
        CHECK(result.codes == naive.codes);
      }
    }
  }
}
