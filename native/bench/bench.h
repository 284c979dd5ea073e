#pragma once

// What the benchmarks of this folder share: the time of a run, and the middle of several.

#include <algorithm>
#include <chrono>
#include <cstddef>
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

// What a ceiling of reading reads.
constexpr std::size_t kReadBytes = std::size_t{2} << 30;

// Bytes per second that the threads read of memory that is not in their caches: the best of plain loads, of
// loads with a prefetch, both on huge pages where there are any.
double read_ceiling(unsigned threads, std::size_t bytes);

}  // namespace wkv::bench
