#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace wkv {

// A number that only grows, and that threads wait for a change of. Used as
//
//   const std::uint32_t seen = event.value();
//   ... look for work; if there is none:
//   event.wait(seen);
//
// so that an event between the look and the wait is not missed. std::atomic's wait() would do, but
// libstdc++'s misses events where the system has no futex: on Windows (gcc 12).
class EventCount {
 public:
  std::uint32_t value() const { return value_.load(); }

  // Adds one and wakes all that wait.
  void advance() {
    // Notified under the lock: whom the new value lets go may destroy this at once.
    const std::lock_guard lock{mutex_};
    value_.fetch_add(1);
    changed_.notify_all();
  }

  // Returns once the value is another than `seen`.
  void wait(std::uint32_t seen) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return value_.load() != seen; });
  }

 private:
  std::atomic<std::uint32_t> value_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace wkv
