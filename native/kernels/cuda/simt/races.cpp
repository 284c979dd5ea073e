#include "kernels/cuda/simt/races.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <unordered_map>

#include "kernels/cuda/simt/block.h"
#include "kernels/cuda/simt/fiber.h"

namespace wkv::cuda::simt::races {

namespace {

// One access: by whom, and in which epoch of its warp.
struct Access {
  int cluster = -1;
  int thread = -1;  // of the cluster
  int epoch = 0;
};

// Of a byte: its last write, and the last two reads by different threads. Any two of more readers are as
// good: a write that is in order with neither of two is a race with one of them.
struct Byte {
  Access write;
  std::array<Access, 2> reads;
};
using Line = std::array<Byte, 16>;

std::unordered_map<std::uintptr_t, Line> lines;

bool in_order(const Access& earlier, const Access& now) {
  if (earlier.thread < 0) return true;
  if (earlier.cluster != now.cluster) return false;
  return earlier.thread == now.thread ||
         earlier.epoch < current_thread()->seen[static_cast<std::size_t>(earlier.thread / kLanes)];
}

// Of the cluster.
int index_of(const Thread& thread) { return thread.place.rank * thread.place.threads + thread.place.thread; }
std::size_t warp_of(const Thread& thread) { return static_cast<std::size_t>(index_of(thread) / kLanes); }

std::string where(const void* instruction) {
  Dl_info info{};
  if (instruction == nullptr || dladdr(instruction, &info) == 0) return "";
  std::array<char, 32> text{};
  const auto offset = static_cast<const char*>(instruction) - static_cast<const char*>(info.dli_fbase);
  static_cast<void>(
      std::snprintf(text.data(), text.size(), " (offset 0x%zx)", static_cast<std::size_t>(offset)));
  return text.data();
}

void race(const Access& earlier, bool earlier_writes, bool writes, const void* instruction) {
  fail(std::string("race: ") + (writes ? "writes" : "reads") + where(instruction) + " what thread " +
       std::to_string(earlier.thread) + " of cluster " + std::to_string(earlier.cluster) +
       (earlier_writes ? " wrote" : " read") + ", and nothing orders the two");
}

// Stacks and arguments are a thread's own.
bool is_own(const void* place) {
  const char here = 0;
  const auto distance = static_cast<const char*>(place) - &here;
  constexpr std::ptrdiff_t kStack = 1 << 16;
  return distance > -kStack && distance < kStack;
}

template <class Look>
void look_at(const void* place, std::size_t bytes, Look look) {
  const Thread* const thread = current_thread();
  if (thread == nullptr || is_own(place)) return;
  const Cluster& cluster = *current_cluster();
  const Access now{cluster.index, index_of(*thread), cluster.epochs[warp_of(*thread)]};
  auto address = reinterpret_cast<std::uintptr_t>(place);
  while (bytes > 0) {
    Line& line = lines[address / 16];
    for (std::size_t i = address % 16; i < 16 && bytes > 0; ++i, ++address, --bytes) look(line[i], now);
  }
}

}  // namespace

void begin_launch() { lines.clear(); }
void begin_cluster(Cluster& cluster) {
  // Shared memory is another block's now; it begins anew.
  for (const Block& block : cluster.blocks) {
    const auto first = reinterpret_cast<std::uintptr_t>(block.shared);
    for (std::size_t i = 0; i < cluster.run->shared_bytes; i += 16) lines.erase((first + i) / 16);
  }
  const std::size_t warps = cluster.blocks.size() * cluster.blocks[0].warps.size();
  cluster.epochs.assign(warps, 0);
  for (Block& block : cluster.blocks) {
    for (Thread& each : block.threads) each.seen.assign(warps, 0);
  }
}
void end_launch() { lines.clear(); }

void join(Seen& seen, const Seen& others) {
  if (seen.empty()) seen.resize(others.size());
  for (std::size_t i = 0; i < others.size(); ++i) seen[i] = std::max(seen[i], others[i]);
}

void meet(std::span<Thread> threads) {
  Seen all;
  for (const Thread& each : threads) join(all, each.seen);
  for (std::size_t warp = warp_of(threads.front()); warp <= warp_of(threads.back()); ++warp) {
    all[warp] = ++current_cluster()->epochs[warp];
  }
  for (Thread& each : threads) each.seen = all;
}

void meet(Cluster& cluster) {
  for (int& epoch : cluster.epochs) ++epoch;
  for (Block& block : cluster.blocks) {
    for (Thread& each : block.threads) each.seen = cluster.epochs;
  }
}

Seen of_copies(const Thread& thread) {
  Seen seen = thread.seen;
  seen[warp_of(thread)] = current_cluster()->epochs[warp_of(thread)] + 1;
  return seen;
}

void on_read(const void* place, std::size_t bytes, const void* instruction) {
  look_at(place, bytes, [&](Byte& byte, const Access& now) {
    if (!in_order(byte.write, now)) race(byte.write, true, false, instruction);
    if (byte.reads[0].thread != now.thread || byte.reads[0].cluster != now.cluster)
      byte.reads[1] = byte.reads[0];
    byte.reads[0] = now;
  });
}

void on_write(const void* place, std::size_t bytes, const void* instruction) {
  look_at(place, bytes, [&](Byte& byte, const Access& now) {
    if (!in_order(byte.write, now)) race(byte.write, true, true, instruction);
    for (const Access& read : byte.reads) {
      if (!in_order(read, now)) race(read, false, true, instruction);
    }
    byte.write = now;
  });
}

}  // namespace wkv::cuda::simt::races
