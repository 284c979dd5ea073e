#pragma once

// The block that runs, as the parts of the harness share it.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/simt/fiber.h"
#include "kernels/cuda/simt/simt.h"

namespace wkv::cuda::simt {

constexpr int kLanes = 32;

enum class State : std::uint8_t { kReady, kAtBarrier, kAtWarp, kReturned };

// Sixteen bytes on their way to shared memory.
struct Copy {
  unsigned char* to;
  std::array<unsigned char, 16> bytes;
  int batch;
};

struct PendingProduct {
  WideProduct product;
  int batch;
};

struct Thread {
  Context context;
  Place place;
  State state;
  int line;          // where it waits
  const void* lane;  // what it brings to its warp's operation
  int batch;         // of the copies that it begins
  std::vector<Copy> copies;
  // Of products in the background.
  bool shown = true;      // what copies brought
  bool products = false;  // may begin
  int product_batch = 0;
  std::vector<PendingProduct> pending_products;
};

// Works on what the 32 lanes bring, once all are there.
using WarpOperation = void (*)(const void* const* lanes);

struct Warp {
  int syncs = 0;  // that have been passed
  int waiting = 0;
  int line = 0;
  WarpOperation operation = nullptr;
};

struct Block {
  const Run* run = nullptr;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  int at_barrier = 0;
  int index = 0;     // of the block in its grid
  int barriers = 0;  // that have been passed
  unsigned char* shared = nullptr;
};

// The block and the thread that run; null outside a launch.
Block* current_block();
Thread* current_thread();

// Ends the launch: launch() throws Failure.
[[noreturn]] void fail(const std::string& what);

// Meets the other lanes of the warp. `lane` stays valid until all have come.
void meet_warp(WarpOperation operation, const void* lane, int line);

}  // namespace wkv::cuda::simt
