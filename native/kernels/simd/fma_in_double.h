#pragma once

#include <cstdint>
#include <cstring>

namespace wkv {

// a * b + c, rounded once: the same bits as the instruction, by additions and multiplications of doubles.
//
// The product of two floats is exact as a double, so only the sum is rounded, and again when it becomes a
// float. The first rounding therefore goes to the neighbour whose last bit is odd, unless it is exact (Boldo
// and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd",
// 2008): an odd double is never half-way between two floats, so the second rounding goes where the exact sum
// would have gone.
static inline float fma_in_double(float a, float b, float c) {
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const double addend = static_cast<double>(c);
  double sum = product + addend;
  // What the sum lost, exactly (Knuth's two-sum). NaN where the sum is infinite or NaN.
  const double of_addend = sum - product;
  const double error = (product - (sum - of_addend)) + (addend - of_addend);
  if (error > 0 || error < 0) {
    std::uint64_t bits;
    std::memcpy(&bits, &sum, sizeof bits);
    // The two doubles around the exact sum: this one, and the next one away from zero or towards it.
    if ((bits & 1U) == 0) bits = (error > 0) == (sum > 0) ? bits + 1 : bits - 1;
    std::memcpy(&sum, &bits, sizeof sum);
  }
  return static_cast<float>(sum);
}

}  // namespace wkv
