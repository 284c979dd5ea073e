#include "backend/cpu/ceilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "backend/cpu/memory.h"
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

constexpr std::size_t kReadBlock = std::size_t{1} << 18;
constexpr double kReadSeconds = 0.2;

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

double measure_read(unsigned threads, std::size_t bytes) {
  Memory memory(bytes);
  auto* data = static_cast<unsigned char*>(memory.data());
  const std::size_t blocks = bytes / kReadBlock;
  ThreadPool& pool = ThreadPool::process();
  pool.run(threads, blocks,
           [&](std::size_t block, unsigned) { std::memset(data + block * kReadBlock, 1, kReadBlock); });
  // The C library's search for a byte that does not occur reads as fast as anything, in every instruction
  // set.
  std::atomic<std::size_t> found{0};
  double best = 0;
  double all = 0;
  while (all < kReadSeconds) {
    const double time = seconds([&] {
      pool.run(threads, blocks, [&](std::size_t block, unsigned) {
        if (std::memchr(data + block * kReadBlock, 0, kReadBlock) != nullptr) ++found;
      });
    });
    all += time;
    best = std::max(best, static_cast<double>(blocks * kReadBlock) / time);
  }
  return found == 0 ? best : 0;
}

}  // namespace wkv
