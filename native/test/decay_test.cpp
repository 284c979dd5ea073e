#include <doctest/doctest.h>

#include <cmath>
#include <utility>

#include "backend/cpu/cpu_features.h"
#include "test/support/guarded.h"
#include "test/support/numbers.h"

using wkv::test::Floats;
using wkv::test::Guarded;

namespace {

constexpr std::pair<wkv::Forget, wkv::Forget wkv::KernelTable::*> kForms[] = {
    {wkv::reference::forget_v6, &wkv::KernelTable::forget_v6},
    {wkv::reference::forget_v7, &wkv::KernelTable::forget_v7}};

Floats run(wkv::Forget kernel, const Floats& input) {
  Guarded<float> x(input);
  kernel(x.data(), static_cast<int>(input.size()));
  CHECK(x.intact());
  return x.copy();
}

}  // namespace

TEST_SUITE("decay") {
  TEST_CASE("agrees with its naive form to the last bits of what is forgotten, on every instruction set") {
    std::mt19937 random(1);
    for (const auto& form : kForms) {
      for (std::size_t size = 1; size < 70; ++size) {
        // From 1 - w = 1e-7, where a float of w could not tell it from 0, to 1.
        const Floats x = wkv::test::random_floats(random, size, -16, 4);
        const Floats expected = run(form.first, x);
        const Floats portable = run(wkv::portable_kernels().*form.second, x);
        // Two exponentials of up to 4 roundings and an argument of up to 16 that is rounded once, the series
        // of 9 terms whose first counts, and a few products and sums.
        CHECK(wkv::test::beyond(portable, expected, [&](std::size_t i) {
                return 32 * wkv::test::kRounding * static_cast<double>(expected[i]);
              }) == "");
        for (const wkv::KernelTable* table : wkv::available_kernels()) {
          CAPTURE(table->name);
          CHECK(wkv::test::bit_difference(run(table->*form.second, x), portable) == "");
        }
      }
    }
  }

  TEST_CASE("stays between 0 and 1 for whatever a network computes") {
    const Floats extremes = {-3e38F, -1000, -88, -87, 0, 87, 88, 1000, 3e38F};
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      CAPTURE(table->name);
      for (const auto& form : kForms) {
        for (const float forget : run(table->*form.second, extremes)) CHECK((forget >= 0 && forget <= 1));
        CHECK(std::isnan(run(table->*form.second, {std::nanf("")})[0]));
      }
      CHECK(run(table->forget_v6, {1000})[0] == 1);
      // exp(-exp(-1/2)) = 0.5452 is what RWKV-7 keeps at least.
      CHECK(run(table->forget_v7, {1000})[0] == doctest::Approx(1 - 0.545239).epsilon(1e-5));
    }
  }
}
