#include <doctest/doctest.h>

#include <vector>

#include "backend/cpu/cpu_features.h"
#include "test/support/guarded.h"
#include "test/support/numbers.h"

using wkv::test::Floats;
using wkv::test::Guarded;

namespace {

struct Case {
  Floats current, previous, mix;
};

Floats run(wkv::TokenShift kernel, const Case& c) {
  Guarded<float> current(c.current);
  Guarded<float> previous(c.previous);
  Guarded<float> mix(c.mix);
  Guarded<float> output(c.mix.size());
  kernel(current.data(), previous.data(), mix.data(), static_cast<int>(c.mix.size()), output.data());
  CHECK(output.intact());
  return output.copy();
}

}  // namespace

TEST_SUITE("token shift") {
  TEST_CASE("agrees with its naive form at every width, and on every instruction set to the bit") {
    std::mt19937 random(1);
    for (std::size_t size = 1; size <= 1001; size += size < 70 ? 1 : 133) {
      CAPTURE(size);
      const Case c{wkv::test::random_floats(random, size, -5, 5),
                   wkv::test::random_floats(random, size, -5, 5),
                   wkv::test::random_floats(random, size, -0.2F, 1.2F)};
      const Floats expected = run(wkv::reference::token_shift, c);
      const Floats portable = run(wkv::portable_kernels().token_shift, c);
      // 1 - mix, its product and the fma round once each.
      const auto tolerance = [&](std::size_t i) {
        const double rest =
            std::abs(static_cast<double>(c.previous[i]) * (1 - static_cast<double>(c.mix[i])));
        return wkv::test::kRounding * (2.01 * rest + 2 * std::abs(static_cast<double>(expected[i])));
      };
      CHECK(wkv::test::beyond(portable, expected, tolerance) == "");
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        CHECK(wkv::test::bit_difference(run(table->token_shift, c), portable) == "");
      }
    }
  }

  TEST_CASE("a mix of 1 takes the current token, of 0 the previous one") {
    const Case c{{1.1F, 2.2F, 3.3F}, {4.4F, 5.5F, 6.6F}, {1, 0, 0.5F}};
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      const Floats output = run(table->token_shift, c);
      CHECK(output[0] == 1.1F);
      CHECK(output[1] == 5.5F);
      CHECK(output[2] == doctest::Approx(4.95F));
    }
  }
}
