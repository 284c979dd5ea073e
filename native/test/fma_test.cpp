#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <random>

#include "kernels/simd/fma_in_double.h"
#include "test/support/numbers.h"

namespace {

using wkv::fma_in_double;
using wkv::test::Floats;

// "" if fma_in_double(a[i], b[i], c[i]) has the bits of the C library's fmaf, which IEC 60559 defines.
std::string difference(const Floats& a, const Floats& b, const Floats& c) {
  Floats actual;
  Floats expected;
  for (std::size_t i = 0; i < a.size(); ++i) {
    actual.push_back(fma_in_double(a[i], b[i], c[i]));
    expected.push_back(std::fma(a[i], b[i], c[i]));
  }
  return wkv::test::bit_difference(actual, expected);
}

}  // namespace

TEST_SUITE("fused multiply-add in double") {
  TEST_CASE("has the bits of fmaf for any three floats") {
    std::mt19937 random(1);
    const auto any = [&] {
      Floats values(200'000);
      for (float& value : values) value = wkv::float_of(static_cast<std::uint32_t>(random()));
      return values;
    };
    CHECK(difference(any(), any(), any()) == "");
  }

  TEST_CASE("has the bits of fmaf where infinities, zeros and the smallest and largest numbers meet") {
    Floats a;
    Floats b;
    Floats c;
    const Floats ends = {0,         0x1p-149F,  0x1p-148F, 0x1.8p-127F, 0x1p-126F,
                         0x1p-63F,  0x1p-24F,   1,         0x1p63F,     0x1.fffffep127F,
                         0x1.8p-1F, 0x1.8p-75F, INFINITY,  NAN,         0x1.000002p0F};
    for (const float x : ends) {
      for (const float y : ends) {
        for (const float z : ends) {
          for (const float sign : {1.0F, -1.0F}) {
            a.push_back(x);
            b.push_back(y * sign);
            c.push_back(z);
          }
        }
      }
    }
    CHECK(difference(a, b, c) == "");
  }

  TEST_CASE("rounds once where the product is half-way between two floats and the rest is far below") {
    // (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24: half a unit too much. The addend decides, however small.
    const float a = 0x1.001p0F;
    CHECK(fma_in_double(a, a, 0) == 0x1.002p0F);
    CHECK(fma_in_double(a, a, 0x1p-60F) == 0x1.002002p0F);
    CHECK(fma_in_double(a, a, 0x1p-149F) == 0x1.002002p0F);
    CHECK(fma_in_double(a, a, -0x1p-60F) == 0x1.002p0F);
    CHECK(fma_in_double(a, -a, -0x1p-60F) == -0x1.002002p0F);
    CHECK(fma_in_double(a, -a, 0x1p-60F) == -0x1.002p0F);
  }
}
