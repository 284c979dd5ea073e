#include "kernels/cuda/simt/races.h"

#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <unordered_map>

#include "kernels/cuda/simt/block.h"
#include "kernels/cuda/simt/fiber.h"

namespace wkv::cuda::simt::races {

namespace {

// One access: by whom, and after how many barriers of its block and of its warp.
struct Access {
  int block = -1;
  int thread = -1;
  int barriers = 0;
  int syncs = 0;
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
  if (earlier.block != now.block) return false;
  const bool same_warp = earlier.thread / kLanes == now.thread / kLanes;
  return earlier.thread == now.thread || earlier.barriers < now.barriers ||
         (same_warp && earlier.syncs < now.syncs);
}

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
       std::to_string(earlier.thread) + " of block " + std::to_string(earlier.block) +
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
  const Block* const block = current_block();
  if (block == nullptr || is_own(place)) return;
  const int thread = current_thread()->place.thread;
  const Access now{block->index, thread, block->barriers,
                   block->warps[static_cast<std::size_t>(thread / kLanes)].syncs};
  auto address = reinterpret_cast<std::uintptr_t>(place);
  while (bytes > 0) {
    Line& line = lines[address / 16];
    for (std::size_t i = address % 16; i < 16 && bytes > 0; ++i, ++address, --bytes) look(line[i], now);
  }
}

}  // namespace

void begin_launch() { lines.clear(); }
void begin_block() {
  // Shared memory is another block's now; it begins anew.
  const auto first = reinterpret_cast<std::uintptr_t>(current_block()->shared);
  for (std::size_t i = 0; i < current_block()->run->shared_bytes; i += 16) lines.erase((first + i) / 16);
}
void end_launch() { lines.clear(); }

void on_read(const void* place, std::size_t bytes, const void* instruction) {
  look_at(place, bytes, [&](Byte& byte, const Access& now) {
    if (!in_order(byte.write, now)) race(byte.write, true, false, instruction);
    if (byte.reads[0].thread != now.thread || byte.reads[0].block != now.block) byte.reads[1] = byte.reads[0];
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
