#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "backend/cpu/denormals.h"
#include "kernels/simd/half.h"

namespace wkv::test {

// Half a unit in the last place of 1: the relative error of one rounding.
constexpr double kRounding = 0x1p-24;

using Floats = std::vector<float>;

inline Floats random_floats(std::mt19937& random, std::size_t count, float low = -1, float high = 1) {
  std::uniform_real_distribution<float> distribution(low, high);
  Floats values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

// "" if the values have the same bits (of NaNs: if both are NaN), else where they first differ.
inline std::string bit_difference(std::span<const float> actual, std::span<const float> expected) {
  if (actual.size() != expected.size()) return "sizes differ";
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (bits_of(actual[i]) == bits_of(expected[i]) || (std::isnan(actual[i]) && std::isnan(expected[i])))
      continue;
    return "at " + std::to_string(i) + ": " + std::to_string(actual[i]) + ", expected " +
           std::to_string(expected[i]);
  }
  return "";
}

// "" if every |actual[i] - expected[i]| <= tolerance(i), else where that first fails.
template <class Tolerance>
std::string beyond(std::span<const float> actual, std::span<const float> expected, Tolerance tolerance) {
  if (actual.size() != expected.size()) return "sizes differ";
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    if (error <= tolerance(i)) continue;
    return "at " + std::to_string(i) + ": " + std::to_string(actual[i]) + ", expected " +
           std::to_string(expected[i]) + ", off by " + std::to_string(error / tolerance(i)) + " tolerances";
  }
  return "";
}

// For every width from 1 to 70, and some large ones; beyond 512 sums of many numbers are taken in parts.
template <class Body>
void for_each_width(Body body) {
  for (std::size_t size = 1; size <= 4100; size = size < 70 ? size + 1 : size * 2 + 1) body(size);
}

// Calls body on a thread that flushes denormals, as all threads that run kernels do.
template <class Body>
void on_engine_thread(Body body) {
  std::thread thread([&body] {
    flush_denormals();
    body();
  });
  thread.join();
}

}  // namespace wkv::test
