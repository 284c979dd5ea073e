// Launches: who runs when, and who waits for whom.

#include <sys/mman.h>

#include <algorithm>
#include <cfenv>
#include <cstring>
#include <mutex>
#include <new>
#include <numeric>
#include <random>

#include "backend/cpu/denormals.h"
#include "kernels/cuda/simt/block.h"
#include "kernels/cuda/simt/device_memory.h"
#include "kernels/cuda/simt/races.h"

namespace wkv::cuda::simt {

namespace {

constexpr std::size_t kStackBytes = std::size_t{1} << 16;
constexpr int kMaxThreads = 1024;

// One launch at a time.
std::mutex launching;
Context scheduler;
Block* block = nullptr;
Thread* thread = nullptr;
std::string failure;
Order order = Order::kForward;
std::mt19937 shuffle_random;
int simulated_architecture = 80;
std::uint64_t run_so_far = 0;

unsigned char* stacks() {
  static unsigned char* const memory = [] {
    void* const mapped = mmap(nullptr, kStackBytes * kMaxThreads, PROT_READ | PROT_WRITE,
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

void wait(State state, int line) {
  thread->state = state;
  thread->line = line;
  Thread* const self = thread;
  switch_context(self->context, scheduler);
}

void enter() {
  block->run->call(*block->run);
  if (!thread->copies.empty()) fail("returned with copies on their way");
  if (!thread->pending_products.empty()) fail("returned while products were computed");
  thread->state = State::kReturned;
  switch_context(thread->context, scheduler);
}

// While a kernel runs, denormal numbers are zero, as on the GPU; the caller's thread may have it otherwise.
class FlushedDenormals {
 public:
  FlushedDenormals() {
    std::fegetenv(&before_);
    flush_denormals();
  }
  ~FlushedDenormals() { std::fesetenv(&before_); }
  FlushedDenormals(const FlushedDenormals&) = delete;
  FlushedDenormals& operator=(const FlushedDenormals&) = delete;

 private:
  std::fenv_t before_{};
};

// Nobody can go on: who is where?
std::string describe_deadlock() {
  std::string text = "nobody can go on:";
  const Thread* before = nullptr;
  for (const Thread& each : block->threads) {
    if (before != nullptr && before->state == each.state && before->line == each.line) continue;
    before = &each;
    const std::string where = " at line " + std::to_string(each.line);
    text += " " + std::string("from thread ") + std::to_string(each.place.thread) + " on" +
            (each.state == State::kReturned    ? " has returned;"
             : each.state == State::kAtBarrier ? " waits for the block" + where + ";"
                                               : " waits for its warp" + where + ";");
  }
  return text;
}

void run_block(std::vector<int>& turns) {
  for (std::size_t i = 0; i < block->threads.size(); ++i) {
    prepare(block->threads[i].context, stacks() + i * kStackBytes, kStackBytes, enter);
  }
  std::size_t returned = 0;
  while (returned < block->threads.size()) {
    if (order == Order::kShuffled) std::shuffle(turns.begin(), turns.end(), shuffle_random);
    bool any = false;
    for (const int turn : turns) {
      thread = &block->threads[static_cast<std::size_t>(turn)];
      if (thread->state != State::kReady) continue;
      any = true;
      switch_context(scheduler, thread->context);
      if (!failure.empty()) return;
      if (thread->state == State::kReturned) ++returned;
    }
    if (!any) {
      failure = describe_deadlock();
      return;
    }
  }
}

}  // namespace

Block* current_block() { return block; }
Thread* current_thread() { return thread; }

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
  if (run.shared_bytes > max_shared_bytes()) {
    refuse(std::to_string(run.shared_bytes) + " bytes of shared memory");
  }
  DeviceMemory shared(run.shared_bytes);
  const FlushedDenormals flushed;
  Block own;
  own.run = &run;
  own.shared = shared.data();
  std::vector<int> turns(static_cast<std::size_t>(run.threads));
  std::iota(turns.begin(), turns.end(), 0);
  if (order == Order::kBackward) std::reverse(turns.begin(), turns.end());
  own.threads.resize(turns.size());
  block = &own;
  failure.clear();
  races::begin_launch();
  for (int y = 0; y < run.blocks_y && failure.empty(); ++y) {
    for (int x = 0; x < run.blocks_x && failure.empty(); ++x) {
      for (int i = 0; i < run.threads; ++i) {
        Thread& each = own.threads[static_cast<std::size_t>(i)];
        each.place = {i, run.threads, x, y};
        each.state = State::kReady;
        each.line = 0;
        each.batch = 0;
        each.copies.clear();
        each.shown = true;
        each.products = false;
        each.product_batch = 0;
        each.pending_products.clear();
      }
      own.warps.assign(static_cast<std::size_t>(run.threads / kLanes), {});
      own.at_barrier = 0;
      own.barriers = 0;
      own.index = y * run.blocks_x + x;
      std::memset(own.shared, 0xff, run.shared_bytes);
      races::begin_block();
      run_block(turns);
      run_so_far += static_cast<std::uint64_t>(run.threads);
    }
  }
  races::end_launch();
  block = nullptr;
  thread = nullptr;
  if (!failure.empty()) refuse(failure);
}

const Place& place() { return thread->place; }

void* shared_memory(std::size_t bytes) {
  if (bytes > block->run->shared_bytes) {
    fail("uses " + std::to_string(bytes) + " bytes of shared memory, launched with " +
         std::to_string(block->run->shared_bytes));
  }
  return block->shared;
}

void sync_block(int line) {
  ++block->at_barrier;
  if (block->at_barrier < block->run->threads) {
    wait(State::kAtBarrier, line);
    return;
  }
  thread->line = line;
  for (Thread& each : block->threads) {
    if (each.line != line) {
      fail("waits for the block at line " + std::to_string(line) + ", " + name_of(each) + " at line " +
           std::to_string(each.line));
    }
    each.state = State::kReady;
  }
  block->at_barrier = 0;
  ++block->barriers;
}

void meet_warp(WarpOperation operation, const void* lane, int line) {
  const std::size_t first = static_cast<std::size_t>(thread->place.thread) / kLanes * kLanes;
  Warp& warp = block->warps[first / kLanes];
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
  for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = block->threads[first + i].lane;
  operation(lanes.data());
  for (std::size_t i = 0; i < kLanes; ++i) block->threads[first + i].state = State::kReady;
  warp.waiting = 0;
}

}  // namespace wkv::cuda::simt
