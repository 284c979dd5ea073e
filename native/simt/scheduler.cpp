// Launches: who runs when, and who waits for whom.

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>
#include <new>
#include <random>

#include "backend/cpu/denormals.h"
#include "simt/block.h"
#include "simt/device_memory.h"
#include "simt/races.h"

namespace wkv::cuda::simt {

namespace {

constexpr std::size_t kStackBytes = std::size_t{1} << 16;
constexpr int kMaxThreads = 1024;  // of a block
constexpr int kMaxStacks = 2048;
constexpr int kFirstWithClusters = 90;
constexpr int kMaxClusterBlocks = 8;

// One launch at a time.
std::mutex launching;
Context scheduler;
Cluster* cluster = nullptr;
Thread* thread = nullptr;
std::string failure;
Order order = Order::kForward;
std::mt19937 shuffle_random;
int simulated_architecture = 80;
std::uint64_t run_so_far = 0;

unsigned char* stacks() {
  static unsigned char* const memory = [] {
    void* const mapped = mmap(nullptr, kStackBytes * kMaxStacks, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc{};
    return static_cast<unsigned char*>(mapped);
  }();
  return memory;
}

std::string name_of(const Thread& who) {
  return "thread " + std::to_string(who.place.thread) + " of block " + std::to_string(who.place.block_x) +
         "," + std::to_string(who.place.block_y);
}

void enter() {
  cluster->run->call(*cluster->run);
  if (!thread->copies.empty()) fail("returned with copies on their way");
  if (!thread->pending_products.empty()) fail("returned while products were computed");
  thread->state = State::kReturned;
  switch_context(thread->context, scheduler);
}

std::string text_of(const Thread& who) {
  const std::string where = " at line " + std::to_string(who.line);
  switch (who.state) {
    case State::kReady:
      return " is ready";
    case State::kAtBarrier:
      return " waits for the block" + where;
    case State::kAtWarp:
      return " waits for its warp" + where;
    case State::kAtCluster:
      return " waits for the cluster" + where;
    case State::kAtPhase:
      return " waits for a barrier's phase" + where;
    case State::kReturned:
      return " has returned";
  }
  return "";
}

// Nobody can go on: who is where?
std::string describe_deadlock() {
  std::string text = "nobody can go on:";
  for (const Block& block : cluster->blocks) {
    const Thread* before = nullptr;
    for (const Thread& each : block.threads) {
      if (before != nullptr && before->state == each.state && before->line == each.line) continue;
      before = &each;
      text += " from thread " + std::to_string(each.place.thread) +
              (cluster->blocks.size() > 1 ? " of block " + std::to_string(each.place.rank) : "") + " on" +
              text_of(each) + ";";
    }
  }
  return text;
}

// In the order that is asked for, as far as the threads leave it open.
std::size_t next_copy() {
  const std::size_t count = cluster->copies.size();
  if (order == Order::kForward) return 0;
  return order == Order::kBackward ? count - 1 : shuffle_random() % count;
}

// Lets copies come until somebody can go on, or some of them before that, as where the order is any. Returns
// what is wrong with them, or "".
std::string land_copies() {
  std::string problem;
  cluster->somebody_is_ready = false;
  while (problem.empty() && !cluster->somebody_is_ready) {
    if (cluster->copies.empty()) return describe_deadlock();
    problem = land(*cluster, next_copy());
  }
  return problem;
}
std::string land_some_early() {
  std::string problem;
  for (std::size_t count = cluster->copies.size(); count > 0 && problem.empty(); --count) {
    if (shuffle_random() % 4 == 0) problem = land(*cluster, next_copy());
  }
  return problem;
}

void run_cluster(std::vector<Thread*>& turns) {
  for (std::size_t i = 0; i < turns.size(); ++i) {
    prepare(turns[i]->context, stacks() + i * kStackBytes, kStackBytes, enter);
  }
  std::size_t returned = 0;
  while (returned < turns.size()) {
    if (order == Order::kShuffled) {
      std::shuffle(turns.begin(), turns.end(), shuffle_random);
      failure = land_some_early();
      if (!failure.empty()) return;
    }
    bool any = false;
    for (Thread* const turn : turns) {
      if (turn->state != State::kReady) continue;
      thread = turn;
      any = true;
      switch_context(scheduler, thread->context);
      if (!failure.empty()) return;
      if (thread->state != State::kReturned) continue;
      ++returned;
      ++current_block()->returned;
    }
    if (any) continue;
    failure = land_copies();
    if (!failure.empty()) return;
  }
  if (!cluster->copies.empty()) failure = "ended with copies on their way";
}

// The blocks from (x, y) on.
void begin_cluster(int x, int y) {
  const Run& run = *cluster->run;
  for (std::size_t rank = 0; rank < cluster->blocks.size(); ++rank) {
    Block& block = cluster->blocks[rank];
    const int own = static_cast<int>(rank);
    std::memset(block.shared, 0xff, run.shared_bytes);
    block.warps.assign(block.threads.size() / kLanes, {});
    block.at_barrier = 0;
    block.returned = 0;
    for (std::size_t i = 0; i < block.threads.size(); ++i) {
      Thread& each = block.threads[i];
      each.place = {static_cast<int>(i), run.threads, x + own % run.cluster_x, y + own / run.cluster_x, own};
      each.state = State::kReady;
      each.line = 0;
      each.batch = 0;
      each.copies.clear();
      each.shown = true;
      each.products = false;
      each.product_batch = 0;
      each.pending_products.clear();
    }
  }
  cluster->index = (y / run.cluster_y * run.blocks_x + x) / run.cluster_x;
  cluster->at_barrier = 0;
  cluster->of_grid = {};
  cluster->of_grid.arrivals = cluster->of_grid.missing = static_cast<int>(cluster->blocks.size());
  cluster->barriers.clear();
  cluster->copies.clear();
  races::begin_cluster(*cluster);
}

}  // namespace

Cluster* current_cluster() { return cluster; }
Block* current_block() {
  return thread == nullptr ? nullptr : &cluster->blocks[static_cast<std::size_t>(thread->place.rank)];
}
Thread* current_thread() { return thread; }

void wait(State state, int line) {
  thread->state = state;
  thread->line = line;
  Thread* const self = thread;
  switch_context(self->context, scheduler);
}

void fail(const std::string& what) {
  failure = name_of(*thread) + ": " + what;
  switch_context(thread->context, scheduler);
  __builtin_unreachable();
}

void set_order(Order wanted, unsigned seed) {
  order = wanted;
  shuffle_random.seed(seed);
}
void set_architecture(int wanted) { simulated_architecture = wanted; }
int architecture() { return simulated_architecture; }
std::size_t max_shared_bytes() {
  // 8.0 has more than 8.6, 8.9 and 12.0.
  const bool is_large = architecture() >= 90 && architecture() < 120;
  const int kibibytes = architecture() < 80 ? 64 : is_large ? 227 : 99;
  return static_cast<std::size_t>(kibibytes) << 10U;
}
std::uint64_t threads_run() { return run_so_far; }

void launch(const Run& run) {
  const std::lock_guard lock{launching};
  const auto refuse = [&](const std::string& what) { throw Failure(std::string(run.name) + ": " + what); };
  if (run.threads < 1 || run.threads > kMaxThreads || run.threads % kLanes != 0) {
    refuse("blocks of " + std::to_string(run.threads) + " threads");
  }
  if (run.blocks_x < 1 || run.blocks_y < 1 || run.blocks_y > 65'535) refuse("a grid that no GPU takes");
  const int together = run.cluster_x * run.cluster_y;
  if (together > 1 && !run.together &&
      (architecture() < kFirstWithClusters || together > kMaxClusterBlocks ||
       run.blocks_x % run.cluster_x != 0 || run.blocks_y % run.cluster_y != 0)) {
    refuse("clusters that no GPU takes");
  }
  if (run.together && together > kProcessors) refuse("more blocks at the same time than there is room for");
  if (together * run.threads > kMaxStacks) refuse("more threads of a cluster than there are stacks");
  if (run.shared_bytes > max_shared_bytes()) {
    refuse(std::to_string(run.shared_bytes) + " bytes of shared memory");
  }
  // As on the GPU; the caller's thread may have it otherwise.
  const FlushDenormals flush;
  std::deque<DeviceMemory> shared;
  Cluster own;
  own.run = &run;
  own.blocks.resize(static_cast<std::size_t>(together));
  std::vector<Thread*> turns;
  for (Block& block : own.blocks) {
    block.shared = shared.emplace_back(run.shared_bytes).data();
    block.threads.resize(static_cast<std::size_t>(run.threads));
    for (Thread& each : block.threads) turns.push_back(&each);
  }
  if (order == Order::kBackward) std::reverse(turns.begin(), turns.end());
  cluster = &own;
  failure.clear();
  races::begin_launch();
  for (int y = 0; y < run.blocks_y && failure.empty(); y += run.cluster_y) {
    for (int x = 0; x < run.blocks_x && failure.empty(); x += run.cluster_x) {
      begin_cluster(x, y);
      run_cluster(turns);
      run_so_far += turns.size();
    }
  }
  races::end_launch();
  cluster = nullptr;
  thread = nullptr;
  if (!failure.empty()) refuse(failure);
}

const Place& place() { return thread->place; }
const Run& running() { return *cluster->run; }

bool is_shared(const Block& block, const void* place, std::size_t bytes) {
  const auto* const first = static_cast<const unsigned char*>(place);
  return first >= block.shared && first + bytes <= block.shared + cluster->run->shared_bytes;
}

void* shared_memory(std::size_t bytes) {
  if (bytes > cluster->run->shared_bytes) {
    fail("uses " + std::to_string(bytes) + " bytes of shared memory, launched with " +
         std::to_string(cluster->run->shared_bytes));
  }
  return current_block()->shared;
}

namespace {

// The last one of the block or cluster has come to its barrier.
void leave(Block& block, int line, const char* who) {
  thread->line = line;
  for (Thread& each : block.threads) {
    if (each.line != line) {
      fail(std::string("waits for the ") + who + " at line " + std::to_string(line) + ", " + name_of(each) +
           " at line " + std::to_string(each.line));
    }
    each.state = State::kReady;
  }
}

}  // namespace

void sync_block(int line) {
  Block& block = *current_block();
  ++block.at_barrier;
  if (block.at_barrier < cluster->run->threads) {
    wait(State::kAtBarrier, line);
    return;
  }
  leave(block, line, "block");
  block.at_barrier = 0;
  races::meet(block.threads);
}

void sync_cluster(int line) {
  ++cluster->at_barrier;
  if (cluster->at_barrier < static_cast<int>(cluster->blocks.size()) * cluster->run->threads) {
    wait(State::kAtCluster, line);
    return;
  }
  for (Block& block : cluster->blocks) leave(block, line, "cluster");
  cluster->at_barrier = 0;
  races::meet(*cluster);
}

void meet_warp(WarpOperation operation, const void* lane, int line) {
  const std::size_t first = static_cast<std::size_t>(thread->place.thread) / kLanes * kLanes;
  Block& block = *current_block();
  Warp& warp = block.warps[first / kLanes];
  if (warp.waiting == 0) {
    warp.line = line;
    warp.operation = operation;
  } else if (warp.line != line || warp.operation != operation) {
    fail("is at line " + std::to_string(line) + ", other lanes of its warp wait at line " +
         std::to_string(warp.line));
  }
  thread->lane = lane;
  if (++warp.waiting < kLanes) {
    wait(State::kAtWarp, line);
    return;
  }
  std::array<const void*, kLanes> lanes{};
  for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = block.threads[first + i].lane;
  operation(lanes.data());
  for (std::size_t i = 0; i < kLanes; ++i) block.threads[first + i].state = State::kReady;
  warp.waiting = 0;
}

}  // namespace wkv::cuda::simt
