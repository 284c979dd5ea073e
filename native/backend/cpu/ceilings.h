#pragma once

#include <cstddef>

#include "kernels/peak/peak.h"

namespace wkv {

// What so many threads do together at most. The best of some rounds counts, because what else the machine
// does meanwhile only takes away.

// Operations per second; 0 where no ceiling is known. About 30 ms.
double measure_peak(Peak peak, unsigned threads);

// More than the caches of common processors hold.
constexpr std::size_t kReadBytes = std::size_t{512} << 20;

// Bytes per second that are read of memory. Takes `bytes` of it meanwhile, and about 0.3 seconds.
// Throws std::bad_alloc.
double measure_read(unsigned threads, std::size_t bytes = kReadBytes);

}  // namespace wkv
