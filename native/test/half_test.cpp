#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "kernels/simd/half.h"

namespace {

using wkv::bits_of;
using wkv::float_of;

// A 16-bit format with `fraction_bits` and the exponent bias `bias`, by its definition.
struct Format {
  int fraction_bits;
  int bias;

  int exponent_bits() const { return 15 - fraction_bits; }
  unsigned max_exponent() const { return (1U << static_cast<unsigned>(exponent_bits())) - 1U; }

  double value(std::uint16_t half) const {
    const unsigned fraction = half & ((1U << static_cast<unsigned>(fraction_bits)) - 1U);
    const unsigned exponent = (unsigned{half} >> static_cast<unsigned>(fraction_bits)) & max_exponent();
    const double sign = (half & 0x8000U) != 0 ? -1 : 1;
    if (exponent == max_exponent()) {
      return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                           : sign * std::numeric_limits<double>::infinity();
    }
    const double significand = fraction + (exponent == 0 ? 0.0 : std::ldexp(1.0, fraction_bits));
    const int power = (exponent == 0 ? 1 : static_cast<int>(exponent)) - bias - fraction_bits;
    return sign * std::ldexp(significand, power);
  }

  // Nearest, ties to even: by scaling the number so that the format's unit there is 1.
  std::uint16_t nearest(float number) const {
    const auto sign = static_cast<std::uint16_t>(std::signbit(number) ? 0x8000U : 0U);
    const double magnitude = std::abs(static_cast<double>(number));
    const auto infinity = static_cast<std::uint16_t>(max_exponent() << static_cast<unsigned>(fraction_bits));
    if (std::isinf(number)) return static_cast<std::uint16_t>(sign | infinity);
    int exponent = 0;
    static_cast<void>(std::frexp(magnitude, &exponent));
    const int unit = std::max(exponent - 1, 1 - bias) - fraction_bits;
    const double rounded = std::ldexp(std::nearbyint(std::ldexp(magnitude, -unit)), unit);
    // Halves of one sign are ordered as their bits are: find the rounded value among them.
    unsigned low = 0;
    unsigned high = infinity;
    while (low < high) {
      const unsigned middle = (low + high) / 2;
      if (value(static_cast<std::uint16_t>(middle)) < rounded) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return static_cast<std::uint16_t>(sign | low);
  }
};

constexpr Format kF16{10, 15};
constexpr Format kBf16{7, 127};

// Numbers where rounding is interesting: each half, the points between it and the next, and their neighbours.
std::vector<float> around(const Format& format) {
  std::vector<float> numbers;
  for (unsigned half = 0; half < 0x8000U; ++half) {
    const double here = format.value(static_cast<std::uint16_t>(half));
    const double next = format.value(static_cast<std::uint16_t>(half + 1));
    if (!std::isfinite(here)) break;
    const double step =
        std::isfinite(next) ? next - here : here - format.value(static_cast<std::uint16_t>(half - 1));
    for (const double place : {0.0, 0.25, 0.5, 0.75}) {
      const auto number = static_cast<float>(here + place * step);
      const float infinity = std::numeric_limits<float>::infinity();
      for (const float value :
           {number, std::nextafter(number, infinity), std::nextafter(number, -infinity)}) {
        numbers.push_back(value);
        numbers.push_back(-value);
      }
    }
  }
  return numbers;
}

}  // namespace

TEST_SUITE("16-bit floats") {
  TEST_CASE("every f16 widens to the number that it means, and comes back") {
    int wrong = 0;
    for (unsigned bits = 0; bits < 0x10000U; ++bits) {
      const auto half = static_cast<std::uint16_t>(bits);
      const float wide = wkv::f16_to_f32(half);
      if (std::isnan(kF16.value(half))) {
        wrong += !std::isnan(wide) || !std::isnan(wkv::f16_to_f32(wkv::f32_to_f16(wide)));
      } else {
        wrong += static_cast<double>(wide) != kF16.value(half) || wkv::f32_to_f16(wide) != half;
      }
    }
    CHECK(wrong == 0);
  }

  TEST_CASE("every bf16 widens to the number that it means, and comes back") {
    int wrong = 0;
    for (unsigned bits = 0; bits < 0x10000U; ++bits) {
      const auto half = static_cast<std::uint16_t>(bits);
      const float wide = wkv::bf16_to_f32(half);
      if (std::isnan(kBf16.value(half))) {
        wrong += !std::isnan(wide) || !std::isnan(wkv::bf16_to_f32(wkv::f32_to_bf16(wide)));
      } else {
        wrong += static_cast<double>(wide) != kBf16.value(half) || wkv::f32_to_bf16(wide) != half;
      }
    }
    CHECK(wrong == 0);
  }

  TEST_CASE("floats round to the nearest half, ties to even, overflow to infinity, subnormals included") {
    int wrong = 0;
    for (const float number : around(kF16)) wrong += wkv::f32_to_f16(number) != kF16.nearest(number);
    CHECK(wrong == 0);
    for (const float number : around(kBf16)) wrong += wkv::f32_to_bf16(number) != kBf16.nearest(number);
    CHECK(wrong == 0);
    std::mt19937 random(1);
    for (int i = 0; i < 200'000; ++i) {
      const float number = float_of(static_cast<std::uint32_t>(random()));
      if (std::isnan(number)) continue;
      wrong += wkv::f32_to_f16(number) != kF16.nearest(number);
      wrong += wkv::f32_to_bf16(number) != kBf16.nearest(number);
    }
    CHECK(wrong == 0);
  }

  TEST_CASE("known roundings") {
    CHECK(wkv::f32_to_f16(1.0F) == 0x3c00);
    CHECK(wkv::f32_to_f16(65504.0F) == 0x7bff);
    CHECK(wkv::f32_to_f16(65519.996F) == 0x7bff);
    CHECK(wkv::f32_to_f16(65520.0F) == 0x7c00);  // a tie, to the even 65536, which is infinity
    CHECK(wkv::f32_to_f16(0x1p-24F) == 0x0001);
    CHECK(wkv::f32_to_f16(0x1p-25F) == 0x0000);  // a tie, to the even 0
    CHECK(wkv::f32_to_f16(0x1.000002p-25F) == 0x0001);
    CHECK(wkv::f32_to_f16(-0.0F) == 0x8000);
    CHECK(wkv::f32_to_bf16(1.0F) == 0x3f80);
    CHECK(wkv::f32_to_bf16(0x1.01p0F) == 0x3f80);  // ties: down to even
    CHECK(wkv::f32_to_bf16(0x1.03p0F) == 0x3f82);  // and up to even
    CHECK(wkv::f32_to_bf16(std::numeric_limits<float>::max()) == 0x7f80);
  }

  TEST_CASE("NaNs stay NaNs, whatever their payload") {
    for (const std::uint32_t bits : {0x7f800001U, 0x7fbfffffU, 0x7fc00000U, 0xff800001U, 0xffffffffU}) {
      CHECK(std::isnan(wkv::f16_to_f32(wkv::f32_to_f16(float_of(bits)))));
      CHECK(std::isnan(wkv::bf16_to_f32(wkv::f32_to_bf16(float_of(bits)))));
    }
  }
}
