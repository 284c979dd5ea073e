#pragma once

// The blocks that run, as the parts of the harness share them.

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "simt/fiber.h"
#include "simt/races.h"
#include "simt/simt.h"

namespace wkv::cuda::simt {

constexpr int kLanes = 32;

enum class State : std::uint8_t { kReady, kAtBarrier, kAtWarp, kAtCluster, kAtPhase, kReturned };

// Up to sixteen bytes on their way to shared memory.
struct Copy {
  unsigned char* to;
  std::size_t count;
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
  State state = State::kReady;
  int line = 0;                   // where it waits
  const void* lane = nullptr;     // what it brings to its warp's operation
  const void* barrier = nullptr;  // whose phase it waits for
  int batch = 0;                  // of the copies that it begins
  std::vector<Copy> copies;
  // Of products in the background.
  bool shown = true;      // what copies brought
  bool products = false;  // may begin
  int product_batch = 0;
  std::vector<PendingProduct> pending_products;
  races::Seen seen;
};

// Works on what the 32 lanes bring, once all are there.
using WarpOperation = void (*)(const void* const* lanes);

struct Warp {
  int waiting = 0;
  int line = 0;
  WarpOperation operation = nullptr;
};

struct Block {
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  int at_barrier = 0;
  std::size_t returned = 0;  // threads
  unsigned char* shared = nullptr;

  bool has_ended() const { return returned == threads.size(); }
};

// Of shared memory, or of a grid.
struct Barrier {
  int arrivals = 0;  // of a phase
  int missing = 0;   // of this phase
  std::int64_t bytes = 0;
  unsigned phase = 0;
  bool shown = false;    // to other blocks and copies
  races::Seen arriving;  // by who came in this phase
  races::Seen complete;  // by who came before
};

struct BulkCopyPart {
  unsigned char* to;
  std::vector<unsigned char> bytes;
  const void* barrier;
  int rank;
  races::Seen seen;
};

// One block, or some that run at the same time and reach each other's shared memory.
struct Cluster {
  const Run* run = nullptr;
  int index = 0;  // in the grid
  std::vector<Block> blocks;
  int at_barrier = 0;
  Barrier of_grid;  // where it is one
  std::map<const void*, Barrier> barriers;
  std::vector<BulkCopyPart> copies;  // on their way
  bool somebody_is_ready = false;    // since a copy has come
  std::vector<int> epochs;           // of its warps
};

// The cluster, the block and the thread that run; null outside a launch.
Cluster* current_cluster();
Block* current_block();
Thread* current_thread();

// Ends the launch: launch() throws Failure.
[[noreturn]] void fail(const std::string& what);

// Meets the other lanes of the warp. `lane` stays valid until all have come.
void meet_warp(WarpOperation operation, const void* lane, int line);

// Lets others run until somebody makes the thread ready.
void wait(State state, int line);

// Lets copy `index` arrive. Returns what is wrong with that, or "".
std::string land(Cluster& cluster, std::size_t index);

inline bool is_aligned(const void* place, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(place) % bytes == 0;
}

// Whether the bytes are in the block's shared memory.
bool is_shared(const Block& block, const void* place, std::size_t bytes);

}  // namespace wkv::cuda::simt
