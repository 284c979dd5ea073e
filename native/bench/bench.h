#pragma once

// What the benchmarks of this folder share: the time of a run, and the middle of several.

#include <algorithm>
#include <chrono>
#include <vector>

namespace wkv::bench {

template <class Body>
double seconds(Body&& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace wkv::bench
