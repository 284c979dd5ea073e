#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "backend/cpu/event_count.h"

namespace wkv {

// The process's worker threads. One parallel region runs at a time; the calling thread works along, so a
// region of n lanes wakes n - 1 workers, or some more where n is no power of two. Items are handed out one by
// one: which lane gets which item is not fixed, so a result must not depend on it.
class ThreadPool {
 public:
  // The one pool. It lives until the process ends: threads that wait cannot be unloaded.
  static ThreadPool& process();

  static constexpr unsigned kMaxLanes = 256;

  ThreadPool() = default;
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls task(item, lane) for each item in [0, items), on at most `lanes` threads, lane in [0, lanes). The
  // task must not throw. Returns when all items are done.
  template <class Task>
  void run(unsigned lanes, std::size_t items, Task&& task) {
    if (items == 0) return;
    if (lanes > items) lanes = static_cast<unsigned>(items);
    if (lanes <= 1) {
      for (std::size_t item = 0; item < items; ++item) task(item, 0U);
      return;
    }
    using Plain = std::remove_reference_t<Task>;
    run_shared(
        lanes, items,
        [](void* context, std::size_t item, unsigned lane) { (*static_cast<Plain*>(context))(item, lane); },
        const_cast<void*>(static_cast<const void*>(&task)));
  }

 private:
  using Call = void (*)(void* context, std::size_t item, unsigned lane);

  void run_shared(unsigned lanes, std::size_t items, Call call, void* context);
  void grow(unsigned workers);
  void work(EventCount& group);
  // Takes a lane of the open job, if there is one, and runs items.
  void join_job();
  void run_items(unsigned lane);

  std::mutex region_;  // held for the length of a parallel region
  std::vector<std::thread> workers_;

  std::mutex job_;  // guards what follows
  bool open_ = false;
  unsigned next_lane_ = 0;
  unsigned lanes_ = 0;
  Call call_ = nullptr;
  void* context_ = nullptr;
  std::size_t items_ = 0;

  std::atomic<std::size_t> next_item_{0};
  std::atomic<unsigned> active_{0};
  // Workers are woken by groups of 1, 2, 4 and so on: one by one would be a call of the system for each, and
  // all would burn the time of processors for a region that wants few.
  static constexpr std::size_t kGroups = 8;
  std::array<EventCount, kGroups> groups_;
  std::atomic<bool> stop_{false};
};

}  // namespace wkv
