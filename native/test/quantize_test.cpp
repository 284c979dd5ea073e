#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "test/support/guarded.h"
#include "test/support/numbers.h"

using wkv::KernelTable;
using wkv::WeightBits;
using wkv::test::Floats;
using wkv::test::Guarded;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Quantized {
  std::vector<std::int8_t> codes;
  Floats scales;
  std::vector<std::int32_t> offsets;
};

// `x` is [tokens][columns].
template <class Kernel>
Quantized quantize(Kernel kernel, int tile_tokens, const Floats& x, const Floats* input_scales, int tokens,
                   int columns, int group, WeightBits bits = WeightBits::k8) {
  const auto padded = static_cast<std::size_t>((columns + 15) / 16 * 16);
  const auto groups = static_cast<std::size_t>((columns + group - 1) / group);
  const std::size_t stride = static_cast<std::size_t>(tokens) + 3;
  Guarded<std::int8_t> codes(padded * static_cast<std::size_t>(tokens));
  std::fill(codes.values().begin(), codes.values().end(), static_cast<std::int8_t>(99));
  Floats scales(groups * stride, 99.0F);
  const std::size_t offset_count = bits == WeightBits::k4 ? padded / 16 : groups;
  std::vector<std::int32_t> offsets(offset_count * stride, 99);
  for (int token = 0; token < tokens; ++token) {
    const std::span<const float> all_tokens(x);
    Guarded<float> row(
        all_tokens.subspan(static_cast<std::size_t>(token * columns), static_cast<std::size_t>(columns)));
    kernel({.x = row.data(),
            .input_scales = input_scales == nullptr ? nullptr : input_scales->data(),
            .out = {.tile_tokens = tile_tokens,
                    .codes = codes.data(),
                    .scales = scales.data(),
                    .offsets = offsets.data(),
                    .stride = static_cast<std::ptrdiff_t>(stride)},
            .token = token,
            .tokens = tokens,
            .columns = columns,
            .group = group,
            .weights = bits});
  }
  CHECK(codes.intact());
  const auto all = codes.values();
  return {{all.begin(), all.end()}, scales, offsets};
}

void expect_same(const KernelTable& table, const Floats& x, const Floats* input_scales, int tokens,
                 int columns, int group, WeightBits bits = WeightBits::k8) {
  const int tile = table.quantized.int8_tile_tokens;
  const Quantized actual =
      quantize(table.quantize_activations, tile, x, input_scales, tokens, columns, group, bits);
  const Quantized expected =
      quantize(wkv::reference::quantize_activations, tile, x, input_scales, tokens, columns, group, bits);
  INFO(table.name, ", ", tokens, " tokens of ", columns, " columns in groups of ", group);
  CHECK(actual.codes == expected.codes);
  CHECK(wkv::test::bit_difference(actual.scales, expected.scales) == "");
  CHECK(actual.offsets == expected.offsets);
}

template <class Kernel>
float weights_of(Kernel kernel, const Floats& weights, std::vector<unsigned char>& codes) {
  Guarded<float> input{std::span<const float>(weights)};
  Guarded<unsigned char> output(weights.size());
  const float scale = kernel(input.data(), static_cast<int>(weights.size()), output.data());
  CHECK(output.intact());
  codes.assign(output.values().begin(), output.values().end());
  return scale;
}

// The squares of what rounding took away.
double lost(const Floats& weights, const std::vector<unsigned char>& codes, float scale) {
  double error = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double off = static_cast<double>(weights[i]) - (codes[i] - 128) * static_cast<double>(scale);
    error += off * off;
  }
  return error;
}

}  // namespace

TEST_CASE("activations are rounded as the reference rounds them, to the last bit") {
  wkv::test::on_engine_thread([] {
    std::mt19937 random(7);
    for (const KernelTable* table : wkv::available_kernels()) {
      for (const int columns : {1, 15, 16, 17, 64, 333, 448, 1024}) {
        for (const int group : {16, 48, 256, 2048}) {
          for (const int tokens : {1, 2, 5, 13, 27}) {
            const auto count = static_cast<std::size_t>(tokens * columns);
            Floats x = wkv::test::random_floats(random, count, -3, 3);
            for (std::size_t i = 0; i < x.size(); i += 37) x[i] *= 1000;
            expect_same(*table, x, nullptr, tokens, columns, group);
            const Floats scales =
                wkv::test::random_floats(random, static_cast<std::size_t>(columns), 0.01F, 30);
            expect_same(*table, x, &scales, tokens, columns, group);
            expect_same(*table, x, &scales, tokens, columns, group, WeightBits::k4);
          }
        }
      }
    }
  });
}

TEST_CASE("a group of activations that has no scale") {
  wkv::test::on_engine_thread([] {
    for (const KernelTable* table : wkv::available_kernels()) {
      for (const float odd : {0.0F, -0.0F, 1e-31F, 1e-40F, kInfinity, -kInfinity, kNan, 3e38F}) {
        Floats x(40, odd == 3e38F ? 1.0F : 0.0F);
        x[3] = odd;
        x[20] = 5;
        expect_same(*table, x, nullptr, 1, 40, 16);
        const Quantized q =
            quantize(table->quantize_activations, table->quantized.int8_tile_tokens, x, nullptr, 1, 40, 16);
        INFO(table->name, " ", odd);
        // Only the group that the number is in is touched by it.
        CHECK(std::isnan(q.scales[0]) == !std::isfinite(odd));
        CHECK(q.scales[4] == 5.0F / 127);
        CHECK(q.codes[20] == 127);
        if (std::fabs(odd) < 1e-30F) CHECK(q.scales[0] == 0);
      }
    }
  });
}

TEST_CASE("ties go to the even code") {
  for (const KernelTable* table : wkv::available_kernels()) {
    const Floats x = {127, 0.5F, 1.5F, 2.5F, -0.5F, -1.5F, -2.5F, 126.5F};
    const Quantized q =
        quantize(table->quantize_activations, table->quantized.int8_tile_tokens, x, nullptr, 1, 8, 16);
    const std::vector<std::int8_t> expected = {127, 0, 2, 2, 0, -2, -2, 126};
    INFO(table->name);
    CHECK(std::equal(expected.begin(), expected.end(), q.codes.begin()));
    CHECK(q.offsets[0] == -128 * (127 + 2 + 2 - 2 - 2 + 126));
    const Quantized of_int4 = quantize(table->quantize_activations, table->quantized.int4_tile_tokens, x,
                                       nullptr, 1, 8, 16, WeightBits::k4);
    CHECK(of_int4.offsets[0] == -8 * (127 + 2 + 2 - 2 - 2 + 126));
  }
}

TEST_CASE("weights take the scale that loses least") {
  wkv::test::on_engine_thread([] {
    std::mt19937 random(8);
    std::vector<unsigned char> codes;
    std::vector<unsigned char> first;
    std::vector<unsigned char> naive;
    for (const int size : {1, 2, 16, 17, 31, 64, 256, 1000}) {
      for (int round = 0; round < 20; ++round) {
        Floats weights = wkv::test::random_floats(random, static_cast<std::size_t>(size));
        if (round % 4 == 1) weights[0] = 40;
        if (round % 4 == 2) {
          for (float& weight : weights) weight *= 1e-28F;
        }
        if (round % 4 == 3) {
          for (float& weight : weights) weight *= 1e37F;
        }
        const float largest = std::fabs(*std::max_element(
            weights.begin(), weights.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); }));
        // What the roundings of the search itself may cost.
        const double noise = size * std::pow(1e-6 * static_cast<double>(largest), 2);
        const float reference = weights_of(wkv::reference::quantize_weights, weights, naive);
        float portable = 0;
        for (const KernelTable* table : wkv::available_kernels()) {
          const float scale = weights_of(table->quantize_weights, weights, codes);
          INFO(table->name, ", ", size, " weights, round ", round);
          // Where two levels lose the same but for rounding, either may be taken.
          CHECK(lost(weights, codes, scale) <= lost(weights, naive, reference) * (1 + 1e-4) + noise);
          if (first.empty()) {
            first = codes;
            portable = scale;
          }
          CHECK(codes == first);
          CHECK(scale == portable);
          CHECK(std::all_of(codes.begin(), codes.end(), [](unsigned char code) { return code != 0; }));
        }
        first.clear();
        // Never worse than the plain scale.
        const float plain = largest / 127;
        std::vector<unsigned char> rounded;
        for (const float weight : weights) {
          rounded.push_back(static_cast<unsigned char>(std::nearbyint(weight / plain) + 128));
        }
        CHECK(lost(weights, naive, reference) <= lost(weights, rounded, plain) * (1 + 1e-5) + noise);
      }
    }
  });
}

TEST_CASE("weights that are all zero, or as good as") {
  wkv::test::on_engine_thread([] {
    std::vector<unsigned char> codes;
    for (const KernelTable* table : wkv::available_kernels()) {
      for (const float tiny : {0.0F, -0.0F, 1e-31F, 1e-42F}) {
        CHECK(weights_of(table->quantize_weights, Floats(21, tiny), codes) == 0);
        CHECK(codes == std::vector<unsigned char>(21, 128));
      }
    }
  });
}
