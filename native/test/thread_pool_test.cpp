#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "backend/cpu/event_count.h"
#include "backend/cpu/thread_pool.h"

using wkv::ThreadPool;

namespace {

// How often each of `items` was handed out in a region of `lanes`; -1 if a lane was too high.
std::vector<int> count_items(ThreadPool& pool, unsigned lanes, std::size_t items) {
  std::vector<std::atomic<int>> counts(items);
  pool.run(lanes, items, [&](std::size_t item, unsigned lane) {
    counts[item].fetch_add(lane < lanes || lanes == 0 ? 1 : -1000);
  });
  return {counts.begin(), counts.end()};
}

}  // namespace

TEST_SUITE("thread pool") {
  TEST_CASE("hands out every item once, to lanes below the limit") {
    ThreadPool pool;
    for (const unsigned lanes : {1U, 2U, 3U, 8U}) {
      for (const std::size_t items : {0U, 1U, 2U, 7U, 100U, 5000U}) {
        CAPTURE(lanes);
        CAPTURE(items);
        CHECK(count_items(pool, lanes, items) == std::vector<int>(items, 1));
      }
    }
  }

  TEST_CASE("never runs one lane on two threads at a time") {
    ThreadPool pool;
    constexpr unsigned kLanes = 4;
    std::vector<std::atomic<int>> inside(kLanes);
    std::atomic<int> collisions{0};
    pool.run(kLanes, 20'000, [&](std::size_t, unsigned lane) {
      if (inside[lane].fetch_add(1) != 0) ++collisions;
      inside[lane].fetch_sub(1);
    });
    CHECK(collisions == 0);
  }

  TEST_CASE("after a region of many lanes, those of few keep to few threads") {
    ThreadPool pool;
    count_items(pool, 64, 5000);
    const auto threads_of_regions = [&](unsigned lanes) {
      std::mutex mutex;
      std::set<std::thread::id> threads;
      for (int round = 0; round < 30; ++round) {
        // So long that all workers sleep.
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
        std::atomic<unsigned> inside{0};
        pool.run(lanes, lanes, [&](std::size_t, unsigned) {
          {
            const std::lock_guard lock{mutex};
            threads.insert(std::this_thread::get_id());
          }
          // Each item is another thread's, unless it does not come.
          ++inside;
          const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{5};
          while (inside < lanes && std::chrono::steady_clock::now() < until) std::this_thread::yield();
        });
      }
      return threads.size();
    };
    for (const unsigned lanes : {2U, 4U, 8U}) {
      CAPTURE(lanes);
      // Some of the many may still be on their way.
      std::size_t fewest = 64;
      for (int attempt = 0; attempt < 50 && fewest > lanes; ++attempt) {
        fewest = std::min(fewest, threads_of_regions(lanes));
      }
      CHECK(fewest <= lanes);
    }
  }

  TEST_CASE("what a region wrote without locks is seen by the caller and by the next region") {
    ThreadPool pool;
    std::vector<int> values(64);
    for (int round = 1; round <= 500; ++round) {
      pool.run(3, values.size(), [&](std::size_t item, unsigned) { values[item] += round; });
      REQUIRE(values == std::vector<int>(values.size(), round * (round + 1) / 2));
    }
  }

  TEST_CASE("survives thousands of tiny regions") {
    ThreadPool pool;
    std::atomic<int> done{0};
    for (int i = 0; i < 20'000; ++i) pool.run(2, 2, [&](std::size_t, unsigned) { done.fetch_add(1); });
    CHECK(done == 40'000);
  }

  TEST_CASE("serves regions of two threads in turn") {
    ThreadPool pool;
    std::atomic<int> inside[2] = {0, 0};
    std::atomic<int> overlaps{0};
    std::atomic<int> wrong{0};
    const auto work = [&](std::size_t self) {
      for (int i = 0; i < 1000; ++i) {
        std::atomic<int> items{0};
        pool.run(3, 5, [&](std::size_t, unsigned) {
          inside[self].fetch_add(1);
          overlaps += inside[1 - self] != 0;
          items.fetch_add(1);
          inside[self].fetch_sub(1);
        });
        wrong += items != 5;
      }
    };
    std::thread other(work, 1);
    work(0);
    other.join();
    CHECK(overlaps == 0);
    CHECK(wrong == 0);
  }

  TEST_CASE("takes more lanes than it has, and than the machine has cores") {
    ThreadPool pool;
    CHECK(count_items(pool, 40, 1000) == std::vector<int>(1000, 1));
    CHECK(count_items(pool, 1'000'000, 300) == std::vector<int>(300, 1));
  }

  TEST_CASE("ends while its workers spin, sleep or have just been woken") {
    for (int i = 0; i < 200; ++i) {
      auto pool = std::make_unique<ThreadPool>();
      std::atomic<int> done{0};
      pool->run(3, 3, [&](std::size_t, unsigned) { done.fetch_add(1); });
      REQUIRE(done == 3);
      if (i % 20 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  TEST_CASE("of the process is one") { CHECK(&ThreadPool::process() == &ThreadPool::process()); }
}

TEST_SUITE("event count") {
  TEST_CASE("misses no event, however closely it follows the last look: two threads wait for each other") {
    constexpr std::uint32_t kTurns = 20'000;
    wkv::EventCount ping;
    wkv::EventCount pong;
    std::thread other([&] {
      for (std::uint32_t turn = 0; turn < kTurns; ++turn) {
        ping.wait(turn);
        pong.advance();
      }
    });
    for (std::uint32_t turn = 0; turn < kTurns; ++turn) {
      ping.advance();
      pong.wait(turn);
    }
    other.join();
    CHECK(ping.value() == kTurns);
    CHECK(pong.value() == kTurns);
  }
}
