#include "backend/cpu/thread_pool.h"

#include <bit>
#include <chrono>
#include <exception>

#include "backend/cpu/denormals.h"
#include "kernels/compiler.h"

namespace wkv {

namespace {

// How long a worker looks for the next region before it sleeps: longer than the pauses within a step, shorter
// than anyone would notice on an idle machine.
constexpr std::chrono::microseconds kSpin{50};

std::size_t group_of(std::size_t worker) { return static_cast<std::size_t>(std::bit_width(worker + 1)) - 1; }

// How many times the caller looks whether the last items are done before it lets other threads run.
constexpr int kPauses = 2000;

}  // namespace

ThreadPool& ThreadPool::process() {
  static ThreadPool* const pool = new ThreadPool;
  return *pool;
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  for (EventCount& group : groups_) group.advance();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::grow(unsigned workers) {
  // A system that refuses threads leaves fewer lanes; the caller does the work alone if need be.
  try {
    while (workers_.size() < workers) {
      EventCount& group = groups_[group_of(workers_.size())];
      workers_.emplace_back([this, &group] { work(group); });
    }
  } catch (const std::exception&) {
    return;
  }
}

void ThreadPool::run_shared(unsigned lanes, std::size_t items, Call call, void* context) {
  const std::lock_guard region{region_};
  if (lanes > kMaxLanes) lanes = kMaxLanes;
  static_assert(kMaxLanes - 1 == (1U << kGroups) - 1);
  grow(lanes - 1);
  {
    const std::lock_guard lock{job_};
    call_ = call;
    context_ = context;
    items_ = items;
    lanes_ = lanes;
    next_lane_ = 1;
    next_item_.store(0, std::memory_order_relaxed);
    open_ = true;
  }
  for (std::size_t group = 0; group <= group_of(lanes - 2); ++group) groups_[group].advance();
  run_items(0);
  {
    // Workers that have not come yet are not waited for: a sleeping or preempted one costs nothing.
    const std::lock_guard lock{job_};
    open_ = false;
  }
  // Mostly the others end in a moment. One that was preempted may be waiting for this very processor.
  int pauses = 0;
  while (active_.load(std::memory_order_acquire) != 0) {
    if (pauses < kPauses) {
      ++pauses;
      compiler::pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::run_items(unsigned lane) {
  for (;;) {
    const std::size_t item = next_item_.fetch_add(1, std::memory_order_relaxed);
    if (item >= items_) return;
    call_(context_, item, lane);
  }
}

void ThreadPool::join_job() {
  unsigned lane;
  {
    const std::lock_guard lock{job_};
    if (!open_ || next_lane_ >= lanes_) return;
    lane = next_lane_++;
    active_.fetch_add(1, std::memory_order_relaxed);
  }
  run_items(lane);
  active_.fetch_sub(1, std::memory_order_release);
}

void ThreadPool::work(EventCount& group) {
  flush_denormals();
  std::uint32_t seen = 0;
  while (!stop_.load()) {
    const auto until = std::chrono::steady_clock::now() + kSpin;
    std::uint32_t now = group.value();
    while (now == seen && std::chrono::steady_clock::now() < until) {
      for (int i = 0; i < 32; ++i) compiler::pause();
      now = group.value();
    }
    if (now == seen) {
      group.wait(seen);
      now = group.value();
    }
    seen = now;
    if (!stop_.load()) join_job();
  }
}

}  // namespace wkv
