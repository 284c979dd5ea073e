// The kernels of sampling against their naive forms, on every instruction set.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "test/support/guarded.h"
#include "test/support/numbers.h"

using wkv::test::Floats;
using wkv::test::Guarded;
using Doubles = std::vector<double>;
using wkv::test::for_each_width;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLowest = std::numeric_limits<float>::lowest();

int length(const Floats& x) { return static_cast<int>(x.size()); }

float highest_of(const Floats& x) { return *std::max_element(x.begin(), x.end()); }

Floats maxima(wkv::Maxima kernel, const Floats& input) {
  Guarded<float> x(input);
  Guarded<float> y((input.size() + wkv::kMaximaBlock - 1) / wkv::kMaximaBlock * 16);
  kernel(y.data(), x.data(), length(input));
  CHECK(y.intact());
  return y.copy();
}

struct Weighed {
  Floats weights;
  double sum;
};

Weighed weigh(wkv::Weigh kernel, const Floats& input, float highest, float scale) {
  Guarded<float> x(input);
  Guarded<float> y(input.size());
  const double sum = kernel(y.data(), x.data(), highest, scale, length(input));
  CHECK(x.intact());
  CHECK(y.intact());
  return {y.copy(), sum};
}

double sum_at_least(wkv::SumAtLeast kernel, const Floats& weights, const Floats& input, float lowest) {
  Guarded<float> w(weights);
  Guarded<float> x(input);
  return kernel(w.data(), x.data(), lowest, length(input));
}

// What was collected; one number, the count, if there was more than the capacity.
std::vector<std::uint32_t> collect(wkv::Collect kernel, const Floats& input, float lowest, float below,
                                   std::size_t capacity) {
  Guarded<float> x(input);
  Guarded<std::uint32_t> indices(capacity);
  const int count =
      kernel(indices.data(), x.data(), lowest, below, length(input), static_cast<int>(capacity));
  CHECK(indices.intact());
  if (count > static_cast<int>(capacity)) return {static_cast<std::uint32_t>(count)};
  return {indices.data(), indices.data() + count};
}

Doubles add_to_buckets(wkv::AddToBuckets kernel, const Floats& weights, const Floats& input, float highest,
                       float scale) {
  Guarded<float> w(weights);
  Guarded<float> x(input);
  Guarded<double> sums(Doubles(wkv::kBuckets, 1));
  kernel(sums.data(), w.data(), x.data(), highest, scale, length(input));
  CHECK(sums.intact());
  return sums.copy();
}

}  // namespace

TEST_SUITE("sampling kernels") {
  TEST_CASE("a copy has the same bits, and is known to be finite") {
    std::mt19937 random(1);
    for_each_width([&](std::size_t size) {
      Floats input = wkv::test::random_floats(random, size, -1e30F, 1e30F);
      input[size / 2] = std::numeric_limits<float>::max();
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        Guarded<float> x(input);
        Guarded<float> y(size);
        CHECK(table->copy_finite(y.data(), x.data(), static_cast<int>(size)));
        CHECK(y.intact());
        CHECK(wkv::test::bit_difference(y.values(), input) == "");
      }
    });
  }

  TEST_CASE("infinity or NaN is noticed at every place") {
    for (const float wrong : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
      for (std::size_t place = 0; place < 40; ++place) {
        Floats input(40, 3);
        input[place] = wrong;
        Floats y(40);
        CHECK(!wkv::reference::copy_finite(y.data(), input.data(), 40));
        for (const wkv::KernelTable* table : wkv::available_kernels()) {
          CAPTURE(table->name);
          CHECK(!table->copy_finite(y.data(), input.data(), 40));
        }
      }
    }
  }

  TEST_CASE("maxima are those of the naive form, on every instruction set") {
    std::mt19937 random(2);
    for_each_width([&](std::size_t size) {
      Floats input = wkv::test::random_floats(random, size, -10, -1);
      if (size > 2) input[size / 2] = -kInfinity;
      const Floats expected = maxima(wkv::reference::maxima, input);
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        CHECK(wkv::test::bit_difference(maxima(table->maxima, input), expected) == "");
      }
    });
  }

  TEST_CASE("a maximum of zeros has no sign, on any instruction set") {
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      CAPTURE(table->name);
      for (std::size_t place = 0; place < 48; ++place) {
        Floats input(48, place % 2 == 0 ? 0.0F : -0.0F);
        input[place] = -input[place];
        CHECK(wkv::test::bit_difference(maxima(table->maxima, input), Floats(16, 0)) == "");
      }
    }
  }

  TEST_CASE("weights and their sum agree with the naive form, and on every instruction set to the bit") {
    std::mt19937 random(3);
    for_each_width([&](std::size_t size) {
      for (const float scale : {1.0F, 0.3F, 4.0F}) {
        Floats input = wkv::test::random_floats(random, size, -20, 8);
        if (size > 2) input[size / 2] = -kInfinity;
        const float highest = highest_of(input);
        const Weighed expected = weigh(wkv::reference::weigh, input, highest, scale);
        const Weighed portable = weigh(wkv::portable_kernels().weigh, input, highest, scale);
        // The exponent, up to 112, is rounded twice; e^ is good to 4 roundings.
        constexpr double kRelative = (2 * 112 + 4) * wkv::test::kRounding;
        CHECK(wkv::test::beyond(portable.weights, expected.weights, [&](std::size_t i) {
                return kRelative * static_cast<double>(expected.weights[i]);
              }) == "");
        // At most 32 numbers are added in a row, and four times two: 36 roundings.
        CHECK(std::abs(portable.sum - expected.sum) <=
              (kRelative + 36 * wkv::test::kRounding) * expected.sum);
        for (const wkv::KernelTable* table : wkv::available_kernels()) {
          CAPTURE(table->name);
          const Weighed actual = weigh(table->weigh, input, highest, scale);
          CHECK(wkv::test::bit_difference(actual.weights, portable.weights) == "");
          CHECK(actual.sum == portable.sum);
        }
      }
    });
  }

  TEST_CASE("sums above a threshold agree with the naive form, and on every instruction set to the bit") {
    std::mt19937 random(4);
    for_each_width([&](std::size_t size) {
      Floats input = wkv::test::random_floats(random, size, -1, 1);
      const Floats weights = wkv::test::random_floats(random, size, 0, 1);
      input[size / 2] = -kInfinity;
      for (const float lowest : {kLowest, input[0], 0.0F, 0.9F, 2.0F}) {
        const double expected = sum_at_least(wkv::reference::sum_at_least, weights, input, lowest);
        const double portable = sum_at_least(wkv::portable_kernels().sum_at_least, weights, input, lowest);
        CHECK(std::abs(portable - expected) <= 36 * wkv::test::kRounding * expected);
        for (const wkv::KernelTable* table : wkv::available_kernels()) {
          CAPTURE(table->name);
          CHECK(sum_at_least(table->sum_at_least, weights, input, lowest) == portable);
        }
      }
    });
  }

  TEST_CASE("what lies between two thresholds is collected, the lower one included") {
    std::mt19937 random(5);
    for_each_width([&](std::size_t size) {
      Floats input = wkv::test::random_floats(random, size, -1, 1);
      input[size / 3] = -kInfinity;
      for (const auto& [lowest, below] : {std::pair{kLowest, kInfinity}, std::pair{input[size / 2], 0.9F},
                                          std::pair{-0.5F, input[0]}, std::pair{2.0F, kInfinity}}) {
        const auto expected = collect(wkv::reference::collect, input, lowest, below, size);
        for (const wkv::KernelTable* table : wkv::available_kernels()) {
          CAPTURE(table->name);
          CHECK(collect(table->collect, input, lowest, below, size) == expected);
        }
      }
    });
  }

  TEST_CASE("collecting stops where there is no room for more") {
    const Floats input(100, 1);
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      CAPTURE(table->name);
      for (const std::size_t capacity : {1U, 15U, 16U, 17U, 99U}) {
        CHECK(collect(table->collect, input, 0, 2, capacity) ==
              std::vector<std::uint32_t>{static_cast<std::uint32_t>(capacity) + 1});
      }
      CHECK(collect(table->collect, input, 0, 2, 100).size() == 100);
    }
  }

  TEST_CASE("buckets are the same as those of the naive form, on every instruction set") {
    std::mt19937 random(6);
    for_each_width([&](std::size_t size) {
      Floats input = wkv::test::random_floats(random, size, -40, 5);
      if (size > 2) input[size / 2] = -kInfinity;
      const Floats weights = wkv::test::random_floats(random, size, 0, 1);
      const float highest = highest_of(input);
      for (const float scale : {0.5F, 64.0F, 1e30F}) {
        const Doubles expected =
            add_to_buckets(wkv::reference::add_to_buckets, weights, input, highest, scale);
        for (const wkv::KernelTable* table : wkv::available_kernels()) {
          CAPTURE(table->name);
          CHECK(add_to_buckets(table->add_to_buckets, weights, input, highest, scale) == expected);
        }
      }
    });
  }

  TEST_CASE("a place half-way between two buckets goes to the even one") {
    const Floats input = {0, -0.5F, -1.5F, -2.5F, -3};
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      CAPTURE(table->name);
      const Doubles sums = add_to_buckets(table->add_to_buckets, {1, 2, 4, 8, 16}, input, 0, 1);
      CHECK(Doubles(sums.begin(), sums.begin() + 5) == Doubles{1 + 1 + 2, 1, 1 + 4 + 8, 1 + 16, 1});
    }
  }
}
