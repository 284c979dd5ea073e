#pragma once

// Numbers for the sampler on the GPU: floats as whole numbers of the same order, e^x and ln x in double
// precision, of operations that IEEE 754 defines.

#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

constexpr float kLowestFloat = -3.40282347e+38F;
// Where NaN and +infinity begin, and what is just below all finite numbers.
constexpr std::uint32_t kInfinityOrder = 0xff800000U;
constexpr std::uint32_t kMinusInfinityOrder = 0x007fffffU;
constexpr std::uint32_t kZeroOrder = 0x80000000U;

WKV_DEVICE std::uint32_t order_of(float x) {
  const std::uint32_t bits = bits_of(x);
  return bits >> 31U != 0 ? ~bits : bits | kZeroOrder;
}
WKV_DEVICE float at_order(std::uint32_t order) {
  return float_of(order >= kZeroOrder ? order & 0x7fffffffU : ~order);
}

// The finite float below a number: a threshold that errs on one side. Zero comes twice in the order.
WKV_DEVICE float finite_below(double value) {
  const std::uint32_t order = order_of(static_cast<float>(value));
  const float below = at_order(order - (order == kZeroOrder ? 2 : 1));
  return below > kLowestFloat ? below : kLowestFloat;
}

// e^x for x <= 0, and 0 below -700. x = n ln 2 + r with |r| <= ln 2 / 2, and e^r by its Taylor series to r^13
// (the next term is below 5e-18).
WKV_DEVICE double exponential(double x) {
  if (x < -700.0) return 0.0;
  const double shift = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  const double shifted = fused(x, 1.44269504088896340736, shift);
  const double n = shifted - shift;
  double r = fused(n, -0.693147180369123816490, x);  // ln 2 in two parts
  r = fused(n, -1.90821492927058770002e-10, r);
  double p = 1.0 / 6227020800.0;
  p = fused(p, r, 1.0 / 479001600.0);
  p = fused(p, r, 1.0 / 39916800.0);
  p = fused(p, r, 1.0 / 3628800.0);
  p = fused(p, r, 1.0 / 362880.0);
  p = fused(p, r, 1.0 / 40320.0);
  p = fused(p, r, 1.0 / 5040.0);
  p = fused(p, r, 1.0 / 720.0);
  p = fused(p, r, 1.0 / 120.0);
  p = fused(p, r, 1.0 / 24.0);
  p = fused(p, r, 1.0 / 6.0);
  p = fused(p, r, 0.5);
  p = fused(p, r, 1.0);
  p = fused(p, r, 1.0);
  return double_of(bits_of(p) + (bits_of(shifted) << 52U));
}

// ln x for a normal x > 0. x = 2^n m with m around 1, and ln m = 2 artanh((m - 1) / (m + 1)), whose series
// ends where terms are below 1e-17.
WKV_DEVICE double logarithm(double x) {
  const std::uint64_t bits = bits_of(x);
  double n = static_cast<double>(static_cast<int>(bits >> 52U) - 1023);
  double m = double_of((bits & 0xfffffffffffffU) | 0x3ff0000000000000U);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    n += 1.0;
  }
  const double s = (m - 1.0) / (m + 1.0);
  double p = 0.0;
  for (int odd = 21; odd > 0; odd -= 2) p = fused(p, s * s, 1.0 / static_cast<double>(odd));
  return fused(n, 0.69314718055994530942, 2.0 * s * p);
}

}  // namespace wkv::cuda
