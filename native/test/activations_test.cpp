#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "test/support/guarded.h"
#include "test/support/numbers.h"

using wkv::test::Floats;
using wkv::test::for_each_width;
using wkv::test::Guarded;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

Floats run(wkv::Elementwise kernel, const Floats& input) {
  Guarded<float> x(input);
  kernel(x.data(), static_cast<int>(input.size()));
  CHECK(x.intact());
  return x.copy();
}

Floats run(wkv::Elementwise2 kernel, const Floats& input, const Floats& other) {
  Guarded<float> x(input);
  Guarded<float> y(other);
  kernel(x.data(), y.data(), static_cast<int>(input.size()));
  CHECK(x.intact());
  return x.copy();
}

Floats run(wkv::Elementwise3 kernel, const Floats& input, const Floats& first, const Floats& second) {
  Guarded<float> x(input);
  Guarded<float> gate(first);
  Guarded<float> y(second);
  kernel(x.data(), gate.data(), y.data(), static_cast<int>(input.size()));
  CHECK(x.intact());
  return x.copy();
}

float log_sum_exp(wkv::LogSumExp kernel, const Floats& input) {
  Guarded<float> x(input);
  return kernel(x.data(), static_cast<int>(input.size()));
}

// sigmoid = 1 / (1 + e^-g): e^ is off by 4 roundings (2 units in the last place), then come a sum, a quotient
// and at most two products; 10 in all.
constexpr double kSigmoid = 10 * wkv::test::kRounding;

// Gates that a model hardly has: beyond the range of e^x, at its ends, signed zeros, denormals.
const Floats kExtremes = {1e30F,    -1e30F,    88,      -88,      87,    -87,    88.5F,     -88.5F,
                          87.3366F, -87.3366F, 104,     -104,     0,     -0.0F,  1e-40F,    -1e-40F,
                          1e-30F,   -1e-30F,   3.4e38F, -3.4e38F, 16.7F, -16.7F, 0.346574F, -0.34657F};

}  // namespace

TEST_SUITE("activations") {
  TEST_CASE("relu squared is exact, on every instruction set") {
    std::mt19937 random(1);
    for_each_width([&](std::size_t size) {
      const Floats x = wkv::test::random_floats(random, size, -10, 10);
      const Floats expected = run(wkv::reference::relu_squared, x);
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        CHECK(wkv::test::bit_difference(run(table->relu_squared, x), expected) == "");
      }
    });
  }

  TEST_CASE("relu squared of NaN is NaN, of zeros and negative numbers 0, of large numbers infinity") {
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      CAPTURE(table->name);
      const Floats y = run(table->relu_squared, {kNaN, -0.0F, 0, -kInfinity, kInfinity, 1e30F, -1});
      CHECK(std::isnan(y[0]));
      CHECK(wkv::test::bit_difference(Floats(y.begin() + 1, y.end()),
                                      Floats{0, 0, 0, kInfinity, kInfinity, 0}) == "");
    }
  }

  TEST_CASE("addition is exact, on every instruction set") {
    std::mt19937 random(2);
    for_each_width([&](std::size_t size) {
      const Floats x = wkv::test::random_floats(random, size, -1e3F, 1e3F);
      const Floats y = wkv::test::random_floats(random, size);
      const Floats expected = run(wkv::reference::add, x, y);
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        CHECK(wkv::test::bit_difference(run(table->add, x, y), expected) == "");
      }
    });
  }

  TEST_CASE("multiplication by silu agrees with its naive form, and on every instruction set to the bit") {
    std::mt19937 random(3);
    for_each_width([&](std::size_t size) {
      const Floats x = wkv::test::random_floats(random, size, -4, 4);
      const Floats gate = wkv::test::random_floats(random, size, -30, 30);
      const Floats expected = run(wkv::reference::multiply_silu, x, gate);
      const Floats portable = run(wkv::portable_kernels().multiply_silu, x, gate);
      CHECK(wkv::test::beyond(portable, expected, [&](std::size_t i) {
              return kSigmoid * std::abs(static_cast<double>(expected[i]));
            }) == "");
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        CHECK(wkv::test::bit_difference(run(table->multiply_silu, x, gate), portable) == "");
      }
    });
  }

  TEST_CASE("gated addition agrees with its naive form, and on every instruction set to the bit") {
    std::mt19937 random(4);
    for_each_width([&](std::size_t size) {
      const Floats x = wkv::test::random_floats(random, size, -4, 4);
      const Floats gate = wkv::test::random_floats(random, size, -30, 30);
      const Floats y = wkv::test::random_floats(random, size, -4, 4);
      const Floats expected = run(wkv::reference::add_gated, x, gate, y);
      const Floats portable = run(wkv::portable_kernels().add_gated, x, gate, y);
      CHECK(wkv::test::beyond(portable, expected, [&](std::size_t i) {
              const double gated = std::abs(static_cast<double>(expected[i]) - static_cast<double>(x[i]));
              return kSigmoid * gated +
                     2 * wkv::test::kRounding * (std::abs(static_cast<double>(expected[i])) + gated);
            }) == "");
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        CHECK(wkv::test::bit_difference(run(table->add_gated, x, gate, y), portable) == "");
      }
    });
  }

  TEST_CASE("sigmoid and tanh agree with their naive forms, and on every instruction set to the bit") {
    std::mt19937 random(6);
    for_each_width([&](std::size_t size) {
      Floats x = wkv::test::random_floats(random, size, -12, 12);
      // Where tanh x is about x.
      for (std::size_t i = 0; i < size; i += 3) x[i] *= 1e-5F;
      for (const auto& [naive, of] : {std::pair{&wkv::reference::sigmoid, &wkv::KernelTable::sigmoid},
                                      std::pair{&wkv::reference::tanh, &wkv::KernelTable::tanh}}) {
        const Floats expected = run(naive, x);
        const Floats portable = run(wkv::portable_kernels().*of, x);
        // tanh = f / (2 - f) with f = 1 - e^-2|x|: that is off by less than e^ and three roundings, then come
        // a difference and a quotient.
        CHECK(wkv::test::beyond(portable, expected, [&](std::size_t i) {
                return kSigmoid * std::abs(static_cast<double>(expected[i]));
              }) == "");
        for (const wkv::KernelTable* table : wkv::available_kernels()) {
          CAPTURE(table->name);
          CHECK(wkv::test::bit_difference(run(table->*of, x), portable) == "");
        }
      }
    });
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      const Floats ends = run(table->tanh, {0, -0.0F, 100, -100, kInfinity, -kInfinity, 3.4e38F});
      CHECK(ends == Floats{0, 0, 1, -1, 1, -1, 1});
      CHECK(std::isnan(run(table->tanh, {kNaN})[0]));
      CHECK(std::isnan(run(table->sigmoid, {kNaN})[0]));
    }
  }

  TEST_CASE("products and moves agree with their naive forms, and on every instruction set to the bit") {
    std::mt19937 random(7);
    for_each_width([&](std::size_t size) {
      const Floats x = wkv::test::random_floats(random, size, -4, 4);
      const Floats gate = wkv::test::random_floats(random, size, -30, 30);
      const Floats y = wkv::test::random_floats(random, size, -4, 4);
      const Floats product = run(wkv::reference::multiply, x, y);
      const Floats expected = run(wkv::reference::move_towards, x, gate, y);
      const Floats portable = run(wkv::portable_kernels().move_towards, x, gate, y);
      CHECK(wkv::test::beyond(portable, expected, [&](std::size_t) {
              return (kSigmoid + 2 * wkv::test::kRounding) * 8 + 2 * wkv::test::kRounding * 4;
            }) == "");
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        CHECK(wkv::test::bit_difference(run(table->multiply, x, y), product) == "");
        CHECK(wkv::test::bit_difference(run(table->move_towards, x, gate, y), portable) == "");
      }
    });
  }

  TEST_CASE("silu and sigmoid take extreme gates as a thread that flushes denormals sees them") {
    wkv::test::on_engine_thread([] {
      const std::size_t size = kExtremes.size();
      const Floats halves(size, 0.5F);
      // Smaller than any normal float is 0 here: e^88 and beyond are one number, whose reciprocal is flushed.
      const auto tolerance = [](const Floats& expected) {
        return [&expected](std::size_t i) {
          return kSigmoid * std::abs(static_cast<double>(expected[i])) + 88 * 0x1p-125;
        };
      };
      const Floats silu = run(wkv::reference::multiply_silu, halves, kExtremes);
      const Floats gated = run(wkv::reference::add_gated, Floats(size, 0), kExtremes, halves);
      const Floats portable_silu = run(wkv::portable_kernels().multiply_silu, halves, kExtremes);
      const Floats portable_gated =
          run(wkv::portable_kernels().add_gated, Floats(size, 0), kExtremes, halves);
      CHECK(wkv::test::beyond(portable_silu, silu, tolerance(silu)) == "");
      CHECK(wkv::test::beyond(portable_gated, gated, tolerance(gated)) == "");
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        CHECK(wkv::test::bit_difference(run(table->multiply_silu, halves, kExtremes), portable_silu) == "");
        CHECK(wkv::test::bit_difference(run(table->add_gated, Floats(size, 0), kExtremes, halves),
                                        portable_gated) == "");
      }
    });
  }

  TEST_CASE("a NaN of the gate or of the other operand stays NaN, in its place only") {
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      CAPTURE(table->name);
      for (const std::size_t size : {3U, 16U, 21U}) {
        for (std::size_t place = 0; place < size; ++place) {
          Floats gate(size, 0.5F);
          gate[place] = kNaN;
          const Floats ones(size, 1);
          for (const Floats& y :
               {run(table->multiply_silu, ones, gate), run(table->multiply_silu, gate, ones),
                run(table->add, ones, gate), run(table->add_gated, ones, gate, ones),
                run(table->add_gated, ones, ones, gate), run(table->add_gated, gate, ones, ones)}) {
            for (std::size_t i = 0; i < size; ++i) REQUIRE(std::isnan(y[i]) == (i == place));
          }
        }
      }
    }
  }
}

TEST_SUITE("log of a sum of exponentials") {
  TEST_CASE("agrees with its naive form, and on every instruction set to the bit") {
    std::mt19937 random(5);
    for (const std::size_t size :
         {1U, 2U, 15U, 16U, 17U, 31U, 70U, 256U, 4095U, 4096U, 4097U, 8192U, 65536U, 65537U}) {
      CAPTURE(size);
      const Floats x = wkv::test::random_floats(random, size, -20, 12);
      const float expected = log_sum_exp(wkv::reference::log_sum_exp, x);
      const float portable = log_sum_exp(wkv::portable_kernels().log_sum_exp, x);
      // A block of 4,096 is summed in 16 lanes of 256; e^x is off by 4 roundings, and its argument, of
      // magnitude d, by d roundings, of terms that weigh e^-d: fewer than 1 where it matters.
      const double sum =
          (static_cast<double>(std::min<std::size_t>(size, 4096)) / 16 + 10) * wkv::test::kRounding;
      CHECK(std::abs(static_cast<double>(portable) - static_cast<double>(expected)) <=
            sum + 2 * wkv::test::kRounding * std::abs(static_cast<double>(expected)));
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        CHECK(wkv::bits_of(log_sum_exp(table->log_sum_exp, x)) == wkv::bits_of(portable));
      }
    }
  }

  TEST_CASE("neither overflows nor underflows") {
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      CAPTURE(table->name);
      CHECK(log_sum_exp(table->log_sum_exp, {1000, 1000}) == doctest::Approx(1000 + std::log(2.0)));
      CHECK(log_sum_exp(table->log_sum_exp, {-1000, -1000, -1000}) == doctest::Approx(-1000 + std::log(3.0)));
      CHECK(log_sum_exp(table->log_sum_exp, {3e38F, -3e38F}) == 3e38F);
      CHECK(log_sum_exp(table->log_sum_exp, {-7.5F}) == -7.5F);
      CHECK(log_sum_exp(table->log_sum_exp, {-kInfinity, 2}) == 2);
    }
  }

  TEST_CASE("a NaN anywhere makes a NaN") {
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      for (std::size_t place = 0; place < 20; ++place) {
        Floats x(20, 1);
        x[place] = kNaN;
        CHECK(std::isnan(log_sum_exp(table->log_sum_exp, x)));
      }
    }
  }
}
