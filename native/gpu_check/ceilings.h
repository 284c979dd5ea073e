#pragma once

// What the GPU can do at most, measured in the same run as everything that is put beside it.

#include <cstdint>

struct WkvCeilings {
  double read;        // bytes a second that a kernel reads from memory
  double copy;        // bytes a second that a copy within the GPU's memory reads and writes
  double upload;      // bytes a second from pinned memory of the host
  double operations;  // products of bytes and their sums a second by multiply_add, two for each
};

extern "C" {
// Returns 0, or an error of the runtime.
using WkvMeasureCeilings = std::int32_t (*)(WkvCeilings* ceilings);
#define WKV_MEASURE_CEILINGS "wkv_measure_ceilings"
}
