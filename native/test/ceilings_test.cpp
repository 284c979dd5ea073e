#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <string>

#include "backend/cpu/ceilings.h"
#include "backend/cpu/cpu_features.h"

namespace {

constexpr double kOperations = 1000;
constexpr std::chrono::microseconds kMinTime{20};

// Takes at least kMinTime, whatever the machine.
double slow_peak(int) {
  const auto end = std::chrono::steady_clock::now() + kMinTime;
  while (std::chrono::steady_clock::now() < end) continue;
  return kOperations;
}

double unknown_peak(int) { return 0; }

}  // namespace

TEST_SUITE("peak") {
  TEST_CASE("counts two operations for each lane of each sum, turn by turn") {
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      CAPTURE(std::string(table->name));
      const double floats = table->peak_f32(1);
      CHECK(floats > 0);
      CHECK(std::fmod(floats, 2 * 16) == 0);
      CHECK(table->peak_f32(0) == 0);
      CHECK(table->peak_f32(1000) == 1000 * floats);
      const double bytes = table->quantized.peak_int8(1);
      CHECK(std::fmod(bytes, 2 * 16) == 0);
      CHECK(table->quantized.peak_int8(1000) == 1000 * bytes);
      // The portable form alone has no ceiling that is known.
      CHECK((bytes == 0) == (std::string(table->name) == "portable"));
    }
  }

  TEST_CASE("is at most what the threads can have done") {
    const double one = kOperations / std::chrono::duration<double>(kMinTime).count();
    for (const unsigned threads : {1U, 2U, 3U}) {
      CAPTURE(threads);
      const double found = wkv::measure_peak(slow_peak, threads);
      CHECK(found > 0);
      CHECK(found <= one * threads);
    }
  }

  TEST_CASE("is 0 where no ceiling is known") { CHECK(wkv::measure_peak(unknown_peak, 2) == 0); }
}

TEST_SUITE("reading") {
  TEST_CASE("is finite, with any number of threads") {
    for (const unsigned threads : {1U, 3U}) {
      CAPTURE(threads);
      const double found = wkv::measure_read(threads, std::size_t{1} << 20);
      CHECK(found > 0);
      CHECK(std::isfinite(found));
    }
  }
}
