#pragma once

#include <atomic>
#include <cstdint>

#if defined(_WIN32)
#include <condition_variable>
#include <mutex>
#endif

namespace wkv {

// A number that only grows, and that threads wait for a change of. Used as
//
//   const std::uint32_t seen = event.value();
//   ... look for work; if there is none:
//   event.wait(seen);
//
// so that an event between the look and the wait is not missed.
class EventCount {
 public:
  std::uint32_t value() const { return value_.load(); }

  // Adds one and wakes all that wait.
  void advance() {
#if defined(_WIN32)
    // Notified under the lock: whom the new value lets go may destroy this at once.
    const std::lock_guard lock{mutex_};
    value_.fetch_add(1);
    changed_.notify_all();
#else
    value_.fetch_add(1);
    value_.notify_all();
#endif
  }

  // Returns once the value is another than `seen`.
  void wait(std::uint32_t seen) {
#if defined(_WIN32)
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return value_.load() != seen; });
#else
    value_.wait(seen);
#endif
  }

 private:
  std::atomic<std::uint32_t> value_{0};
#if defined(_WIN32)
  // The wait of libstdc++'s atomics misses events where the system has no futex (gcc 12). Where it has one, a
  // mutex and a condition are slower.
  std::mutex mutex_;
  std::condition_variable changed_;
#endif
};

}  // namespace wkv
