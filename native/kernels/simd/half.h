#pragma once

// 16-bit floating point, without the help of the processor. All rounding is to nearest, ties to even.

#include <cstdint>
#include <cstring>

namespace wkv {

inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float bf16_to_f32(std::uint16_t half) { return float_of(static_cast<std::uint32_t>(half) << 16U); }

inline std::uint16_t f32_to_bf16(float value) {
  const std::uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((bits >> 16U) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
}

inline float f16_to_f32(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16U;
  const std::uint32_t exponent = (half >> 10U) & 0x1fU;
  std::uint32_t fraction = half & 0x3ffU;
  if (exponent == 0x1fU) return float_of(sign | 0x7f800000U | (fraction << 13U));
  if (exponent != 0) return float_of(sign | ((exponent + 112U) << 23U) | (fraction << 13U));
  if (fraction == 0) return float_of(sign);
  // A subnormal half is a normal float: move the leading bit to its place.
  std::uint32_t shift = 0;
  while ((fraction & 0x400U) == 0) {
    fraction <<= 1U;
    ++shift;
  }
  return float_of(sign | ((113U - shift) << 23U) | ((fraction & 0x3ffU) << 13U));
}

inline std::uint16_t f32_to_f16(float value) {
  const std::uint32_t bits = bits_of(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16U) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<std::uint16_t>(sign | 0x7e00U);
  if (magnitude >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U);  // rounds to 65536 or more
  if (magnitude < 0x33000001U) return sign;                                         // at most half of 2^-24
  std::uint32_t exponent = magnitude >> 23U;
  std::uint32_t fraction = (magnitude & 0x7fffffU) | 0x800000U;
  // Bits to drop: 13 for a normal half, more below 2^-14.
  const std::uint32_t drop = exponent >= 113U ? 13U : 126U - exponent;
  const std::uint32_t half_unit = 1U << (drop - 1U);
  const std::uint32_t odd = (fraction >> drop) & 1U;
  fraction = (fraction + half_unit - 1U + odd) >> drop;
  // The leading bit of a normal fraction adds one to the exponent field.
  exponent = exponent >= 113U ? exponent - 113U : 0U;
  return static_cast<std::uint16_t>(sign | ((exponent << 10U) + fraction));
}

}  // namespace wkv
