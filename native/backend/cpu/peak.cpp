#include "backend/cpu/peak.h"

#include <algorithm>
#include <chrono>

#include "backend/cpu/thread_pool.h"

namespace wkv {

namespace {

template <class Body>
double seconds(Body&& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

constexpr double kItemSeconds = 5e-5;
constexpr int kMaxTurns = 1 << 20;
constexpr int kRounds = 5;
// Many small items: a thread that wakes late takes fewer of them, instead of leaving the others to wait for
// it.
constexpr unsigned kItemsPerThread = 64;

}  // namespace

double measure_peak(Peak peak, unsigned threads) {
  int turns = 256;
  while (turns < kMaxTurns && seconds([&] { peak(turns); }) < kItemSeconds) turns *= 2;
  const double operations = peak(turns) * threads * kItemsPerThread;
  double best = 0;
  for (int round = 0; operations > 0 && round < kRounds; ++round) {
    const double time = seconds([&] {
      ThreadPool::process().run(threads, std::size_t{threads} * kItemsPerThread,
                                [&](std::size_t, unsigned) { peak(turns); });
    });
    best = std::max(best, operations / time);
  }
  return best;
}

}  // namespace wkv
