#include "simt/races.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <unordered_map>
#include <vector>

#include "simt/block.h"
#include "simt/fiber.h"

namespace wkv::cuda::simt::races {

namespace {

// One access: by whom, and in which epoch of its warp.
struct Access {
  int cluster = -1;
  int thread = -1;  // of the cluster
  int epoch = 0;
};

// Of some bytes: their last write, and reads that are not in order before one another. Of a warp two are
// enough: a write that is in order with neither is a race with one of them.
struct Bytes {
  Access write;
  std::vector<Access> reads;
};
// Sixteen bytes, as one, as words, or each alone: as finely as they have been accessed.
class Line {
 public:
  // Calls look(bytes) for those from `offset` on.
  template <class Look>
  void look_at(std::size_t offset, std::size_t count, Look look) {
    if (parts_.empty()) parts_.resize(1);
    while (offset % size_ != 0 || count % size_ != 0) split();
    for (std::size_t i = offset / size_; i < (offset + count) / size_; ++i) look(parts_[i]);
  }

  void forget() {
    size_ = kBytes;
    parts_.clear();
  }

  static constexpr std::size_t kBytes = 16;

 private:
  void split() {
    std::vector<Bytes> finer;
    finer.reserve(parts_.size() * 4);
    for (const Bytes& part : parts_) finer.insert(finer.end(), 4, part);
    parts_ = std::move(finer);
    size_ /= 4;
  }

  std::size_t size_ = kBytes;
  std::vector<Bytes> parts_;
};

// Lines by address, in pages: most accesses are to the page of the one before.
class Memory {
 public:
  Line& line(std::uintptr_t address) {
    const std::uintptr_t number = address / kPageBytes;
    if (page_ == nullptr || number != number_) {
      page_ = &pages_[number];
      number_ = number;
    }
    return (*page_)[address % kPageBytes / Line::kBytes];
  }

  void forget(std::uintptr_t address, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; i += Line::kBytes) line(address + i).forget();
  }

  void forget() {
    pages_.clear();
    page_ = nullptr;
  }

 private:
  static constexpr std::size_t kPageBytes = 4096;
  using Page = std::array<Line, kPageBytes / Line::kBytes>;

  std::unordered_map<std::uintptr_t, Page> pages_;  // their places stay
  Page* page_ = nullptr;
  std::uintptr_t number_ = 0;
};

Memory memory;

// `seen` is what the thread of `now` knows.
bool in_order(const Access& earlier, const Access& now, const Seen& seen) {
  if (earlier.thread < 0) return true;
  if (earlier.cluster != now.cluster) return false;
  return earlier.thread == now.thread ||
         earlier.epoch < seen[static_cast<std::size_t>(earlier.thread / kLanes)];
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
    const std::size_t offset = address % Line::kBytes;
    const std::size_t count = std::min(bytes, Line::kBytes - offset);
    memory.line(address).look_at(offset, count, [&](Bytes& part) { look(part, now, thread->seen); });
    address += count;
    bytes -= count;
  }
}

}  // namespace

void begin_launch() { memory.forget(); }

void begin_cluster(Cluster& cluster) {
  // Shared memory is another block's now; it begins anew.
  for (const Block& block : cluster.blocks) {
    memory.forget(reinterpret_cast<std::uintptr_t>(block.shared), cluster.run->shared_bytes);
  }
  const std::size_t warps = cluster.blocks.size() * cluster.blocks[0].warps.size();
  cluster.epochs.assign(warps, 0);
  for (Block& block : cluster.blocks) {
    for (Thread& each : block.threads) each.seen.assign(warps, 0);
  }
}

void end_launch() { memory.forget(); }

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

Seen of_copy(const Thread& thread) {
  Seen seen = thread.seen;
  // What the warp does from here on is of another epoch.
  seen[warp_of(thread)] = ++current_cluster()->epochs[warp_of(thread)];
  return seen;
}

void on_read(const void* place, std::size_t bytes, const void* instruction) {
  look_at(place, bytes, [&](Bytes& part, const Access& now, const Seen& seen) {
    if (!in_order(part.write, now, seen)) race(part.write, true, false, instruction);
    // Of clusters that are over, one is enough: no write is in order with it.
    if (!part.reads.empty() && part.reads.back().cluster != now.cluster) part.reads.resize(1);
    int of_warp = 0;
    std::erase_if(part.reads, [&](const Access& read) {
      if (in_order(read, now, seen)) return true;
      of_warp += read.cluster == now.cluster && read.thread / kLanes == now.thread / kLanes ? 1 : 0;
      return false;
    });
    if (of_warp < 2) part.reads.push_back(now);
  });
}

void on_write(const void* place, std::size_t bytes, const void* instruction) {
  look_at(place, bytes, [&](Bytes& part, const Access& now, const Seen& seen) {
    if (!in_order(part.write, now, seen)) race(part.write, true, true, instruction);
    for (const Access& read : part.reads) {
      if (!in_order(read, now, seen)) race(read, false, true, instruction);
    }
    part.write = now;
    part.reads.clear();
  });
}

}  // namespace wkv::cuda::simt::races
