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

// Bytes per second that the threads read of memory that is not in their caches: the best of plain loads, of
// loads with a prefetch, both on huge pages where there are any.
double read_ceiling(unsigned threads, std::size_t bytes);

// Products and sums per second (two operations each) of the processor's dot products of bytes, from
// registers.
double dot_ceiling(unsigned threads);

}  // namespace wkv::bench
