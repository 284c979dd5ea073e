#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "test/support/guarded.h"
#include "test/support/numbers.h"

using wkv::test::Floats;
using wkv::test::Guarded;

namespace {

std::vector<int> widths() {
  std::vector<int> sizes;
  for (int size = 1; size <= 70; ++size) sizes.push_back(size);
  for (const int size : {192, 320, 1000, 4096, 4103}) sizes.push_back(size);
  return sizes;
}

struct Case {
  Floats x, weight, bias;
};

Case random_case(std::mt19937& random, int size, float offset) {
  const auto count = static_cast<std::size_t>(size);
  return {wkv::test::random_floats(random, count, offset - 3, offset + 3),
          wkv::test::random_floats(random, count, -2, 2), wkv::test::random_floats(random, count)};
}

Floats run(wkv::LayerNorm kernel, const Case& c, float epsilon) {
  Guarded<float> x(c.x);
  Guarded<float> weight(c.weight);
  Guarded<float> bias(c.bias);
  Guarded<float> output(c.x.size());
  kernel(x.data(), weight.data(), bias.data(), epsilon, static_cast<int>(c.x.size()), output.data());
  CHECK((output.intact() && x.intact()));
  return output.copy();
}

// 32 neighbours, or their sums, as a tree.
float sum_32(std::span<const float> numbers) {
  Floats sums(numbers.begin(), numbers.end());
  for (std::size_t width = 16; width > 0; width /= 2) {
    for (std::size_t i = 0; i < width; ++i) sums[i] += sums[i + width];
  }
  return sums[0];
}

// In the order that layer_norm.h says; add(sum, x) is one step.
template <class Add>
float sum_in_order(const Floats& x, Add add) {
  Floats lanes(1024);
  for (std::size_t i = 0; i < x.size(); ++i) lanes[i % 1024] = add(lanes[i % 1024], x[i]);
  Floats sums;
  for (std::size_t i = 0; i < lanes.size(); i += 32) sums.push_back(sum_32(std::span(lanes).subspan(i, 32)));
  return sum_32(sums);
}

// The mean and the variance are sums of at most n/16 additions in a lane and 10 across, each off by half a
// unit at most; around that lie fewer than 8 further roundings. An error of the mean moves x - mean, one of
// the variance the scale by half as much.
double tolerance(const Case& c, const Floats& expected, std::size_t i) {
  const double roundings = static_cast<double>(c.x.size()) / 16 + 18;
  double mean = 0;
  double magnitude = 0;
  for (const float x : c.x) {
    mean += static_cast<double>(x) / static_cast<double>(c.x.size());
    magnitude += std::abs(static_cast<double>(x)) / static_cast<double>(c.x.size());
  }
  double variance = 0;
  for (const float x : c.x) {
    variance += std::pow(static_cast<double>(x) - mean, 2) / static_cast<double>(c.x.size());
  }
  const double scale = 1 / std::sqrt(variance + 1e-5);
  const double distance = std::abs(static_cast<double>(c.x[i]) - mean) + magnitude;
  const double weight = std::abs(static_cast<double>(c.weight[i]));
  return wkv::test::kRounding *
         (roundings * distance * scale * weight + 2 * std::abs(static_cast<double>(expected[i])) +
          std::abs(static_cast<double>(c.bias[i])));
}

}  // namespace

TEST_SUITE("layer norm") {
  TEST_CASE("agrees with its naive form at every width, and on every instruction set to the bit") {
    std::mt19937 random(1);
    for (const int size : widths()) {
      CAPTURE(size);
      const Case c = random_case(random, size, size % 3 == 0 ? 10.0F : 0.0F);
      const Floats expected = run(wkv::reference::layer_norm, c, 1e-5F);
      const Floats portable = run(wkv::portable_kernels().layer_norm, c, 1e-5F);
      CHECK(wkv::test::beyond(portable, expected, [&](std::size_t i) { return tolerance(c, expected, i); }) ==
            "");
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        CHECK(wkv::test::bit_difference(run(table->layer_norm, c, 1e-5F), portable) == "");
      }
    }
  }

  TEST_CASE("sums in the order that layer_norm.h says") {
    std::mt19937 random(4);
    for (const int size : {1, 16, 33, 64, 100, 1024, 1040, 2048, 5003}) {
      CAPTURE(size);
      const Case c = random_case(random, size, 1);
      const auto count = static_cast<float>(size);
      const float mean = sum_in_order(c.x, [](float sum, float x) { return sum + x; }) / count;
      const float variance =
          sum_in_order(c.x, [mean](float sum, float x) { return std::fma(x - mean, x - mean, sum); }) / count;
      const float scale = 1 / std::sqrt(variance + 1e-5F);
      Floats expected;
      for (std::size_t i = 0; i < c.x.size(); ++i) {
        expected.push_back(std::fma((c.x[i] - mean) * scale, c.weight[i], c.bias[i]));
      }
      CHECK(wkv::test::bit_difference(run(wkv::portable_kernels().layer_norm, c, 1e-5F), expected) == "");
    }
  }

  TEST_CASE("may write over its input") {
    std::mt19937 random(2);
    for (const int size : {1, 15, 16, 64, 1000}) {
      const Case c = random_case(random, size, 0);
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        Floats x = c.x;
        table->layer_norm(x.data(), c.weight.data(), c.bias.data(), 64e-5F, size, x.data());
        CHECK(wkv::test::bit_difference(x, run(table->layer_norm, c, 64e-5F)) == "");
      }
    }
  }

  TEST_CASE("gives the bias where all numbers are equal") {
    // 0.5 and its multiples sum without rounding, so that x - mean is 0.
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      for (const std::size_t size : {1U, 7U, 64U, 320U}) {
        const Case c{Floats(size, 0.5F), Floats(size, 3), Floats(size, -1.25F)};
        CHECK(run(table->layer_norm, c, 1e-5F) == Floats(size, -1.25F));
      }
    }
  }

  TEST_CASE("a NaN anywhere reaches every output") {
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      for (const std::size_t size : {1U, 17U, 64U}) {
        for (std::size_t place = 0; place < size; ++place) {
          Case c{Floats(size, 1), Floats(size, 1), Floats(size, 0)};
          c.x[place] = std::numeric_limits<float>::quiet_NaN();
          for (const float y : run(table->layer_norm, c, 1e-5F)) REQUIRE(std::isnan(y));
        }
      }
    }
  }
}
