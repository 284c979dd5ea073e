#include <doctest/doctest.h>

#include <numeric>
#include <random>
#include <string>
#include <utility>

#include "test/cuda/faulty.h"
#include "test/cuda/on_device.h"

using wkv::test::Fault;
using wkv::test::in_every_order;
using wkv::test::OnDevice;

namespace {

constexpr unsigned kBlocks = 3;
constexpr std::size_t kNumbers = kBlocks * wkv::test::kRotateThreads;

std::vector<int> numbered() {
  std::vector<int> numbers(kNumbers);
  std::iota(numbers.begin(), numbers.end(), 100);
  return numbers;
}

std::vector<int> rotated() {
  std::vector<int> numbers = numbered();
  for (std::size_t block = 0; block < kBlocks; ++block) {
    const auto begin = numbers.begin() + static_cast<std::ptrdiff_t>(block * wkv::test::kRotateThreads);
    std::rotate(begin, begin + 1, begin + static_cast<std::ptrdiff_t>(wkv::test::kRotateThreads));
  }
  return numbers;
}

struct Result {
  std::string failure;
  std::vector<int> output;
};

Result rotate(Fault fault) {
  OnDevice<int> input(numbered());
  OnDevice<int> output(kNumbers);
  try {
    wkv::test::rotate({input.data(), output.data(), fault}, kBlocks);
  } catch (const wkv::cuda::simt::Failure& failure) {
    return {failure.what(), {}};
  }
  return {"", output.values()};
}

std::string failure_of_copy(Fault fault, bool& same) {
  std::vector<unsigned char> bytes(512);
  std::iota(bytes.begin(), bytes.end(), static_cast<unsigned char>(1));
  OnDevice<unsigned char> input(bytes);
  OnDevice<unsigned char> output(bytes.size());
  try {
    wkv::test::copy({input.data(), output.data(), fault});
  } catch (const wkv::cuda::simt::Failure& failure) {
    return failure.what();
  }
  same = output.values() == bytes;
  return "";
}

// `right`: whether the sums are.
std::string failure_of_product(Fault fault, bool& right) {
  constexpr std::size_t kBytes = std::size_t{wkv::test::kMultiplyThreads} * 16;
  std::vector<unsigned char> bytes(kBytes);
  for (std::size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<unsigned char>(i / 16 % 64);
  OnDevice<unsigned char> input(bytes);
  OnDevice<std::int32_t> output(std::size_t{wkv::test::kMultiplyThreads} * wkv::test::kMultiplySums);
  try {
    wkv::test::multiply({input.data(), output.data(), fault});
  } catch (const wkv::cuda::simt::Failure& failure) {
    return failure.what();
  }
  const std::vector<std::int32_t> sums = output.values();
  right = true;
  for (int i = 0; i < wkv::test::kMultiplyThreads * wkv::test::kMultiplySums; ++i) {
    const int token = i % wkv::test::kMultiplySums / 4 * 8 + i / wkv::test::kMultiplySums % 4 * 2 + i % 2;
    right = right && sums[static_cast<std::size_t>(i)] == 32 * token;
  }
  return "";
}

std::string failure_of_share(Fault fault, bool& same) {
  constexpr std::size_t kBytes = std::size_t{16} * wkv::cuda::kWarp;
  std::vector<unsigned char> bytes(kBytes * wkv::test::kShareRounds);
  std::mt19937 random(3);
  for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(random());
  OnDevice<unsigned char> input(bytes);
  OnDevice<unsigned char> output(2 * bytes.size());
  same = true;
  try {
    wkv::test::share({input.data(), output.data(), fault});
  } catch (const wkv::cuda::simt::Failure& failure) {
    return failure.what();
  }
  const std::vector<unsigned char> copies = output.values();
  for (std::size_t i = 0; i < copies.size(); ++i) {
    same = same && copies[i] == bytes[i / (2 * kBytes) * kBytes + i % kBytes];
  }
  return "";
}

std::string failure_of_pass(Fault fault, int blocks, bool& right) {
  std::vector<int> numbers(static_cast<std::size_t>(blocks) * wkv::cuda::kWarp);
  std::iota(numbers.begin(), numbers.end(), 0);
  OnDevice<int> on_device(numbers);
  OnDevice<std::uint64_t> arrived(std::vector<std::uint64_t>{0});
  try {
    wkv::test::pass({on_device.data(), arrived.data(), blocks, fault});
  } catch (const wkv::cuda::simt::Failure& failure) {
    return failure.what();
  }
  const auto rotation = static_cast<std::ptrdiff_t>(wkv::test::kPassRounds % blocks) * wkv::cuda::kWarp;
  std::rotate(numbers.begin(), numbers.begin() + rotation, numbers.end());
  right = on_device.values() == numbers;
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_SUITE("simulated GPU") {
  TEST_CASE("a right kernel gives the same in every order of its threads") {
    in_every_order([](const std::string& order) {
      CAPTURE(order);
      const Result result = rotate(Fault::kNone);
      CHECK(result.failure == "");
      CHECK(result.output == rotated());
    });
  }

  TEST_CASE("without a barrier some order is wrong, or the race is named") {
    int wrong = 0;
    in_every_order([&](const std::string&) {
      const Result result = rotate(Fault::kNoBarrier);
      CHECK((result.failure == "" || has(result.failure, "race: ")));
      wrong += result.output == rotated() ? 0 : 1;
    });
    CHECK(wrong > 0);
  }

  TEST_CASE("who misses a meeting is named, with the kernel and the place") {
    in_every_order([](const std::string& order) {
      CAPTURE(order);
      const std::string barrier = rotate(Fault::kDivergentBarrier).failure;
      CHECK(has(barrier, "rotate: "));
      CHECK(has(barrier, "nobody can go on"));
      CHECK(has(barrier, "from thread 40 on has returned"));
      const std::string half = rotate(Fault::kDivergentShuffle).failure;
      CHECK(has(half, "waits for its warp"));
      const std::string two = rotate(Fault::kTwoShuffles).failure;
      CHECK(has(two, "other lanes of its warp wait at line"));
    });
  }

  TEST_CASE("more shared memory than a block was launched with is refused") {
    CHECK(has(rotate(Fault::kTooMuchShared).failure, "uses 256 bytes of shared memory, launched with 32"));
  }

  TEST_CASE("copies in the background arrive at the wait, and no earlier") {
    wkv::test::on_every_architecture([](int architecture) {
      CAPTURE(architecture);
      bool same = false;
      CHECK(failure_of_copy(Fault::kNone, same) == "");
      CHECK(same);
      // Where there are no such copies, all is done at once.
      CHECK(failure_of_copy(Fault::kNoWait, same) == "");
      CHECK(same == (architecture < 80));
      CHECK(has(failure_of_copy(Fault::kReturnsEarly, same), "returned with copies on their way") ==
            (architecture >= 80));
    });
  }

  TEST_CASE("products in the background are there at the wait, and no earlier") {
    bool right = false;
    CHECK(failure_of_product(Fault::kNone, right) == "");
    CHECK(right);
    CHECK(failure_of_product(Fault::kNoWait, right) == "");
    CHECK(!right);
    CHECK(has(failure_of_product(Fault::kReturnsEarly, right), "returned while products were computed"));
    CHECK(has(failure_of_product(Fault::kNotBegun, right), "without begin_products()"));
    CHECK(has(failure_of_product(Fault::kNotShown, right), "without fence_proxy_async()"));
    CHECK(has(failure_of_product(Fault::kBeyondShared, right), "multiplies what is not shared memory"));
  }

  TEST_CASE("blocks of a cluster copy to each other, and what goes wrong with that is named") {
    wkv::cuda::simt::set_architecture(90);
    in_every_order([](const std::string& order) {
      CAPTURE(order);
      bool same = false;
      CHECK(failure_of_share(Fault::kNone, same) == "");
      CHECK(same);
      for (const auto& [fault, text] : {std::pair{Fault::kNoInit, "uses a barrier that is none"},
                                        std::pair{Fault::kBarrierNotShown, "to a barrier that is not shown"},
                                        std::pair{Fault::kOneBlockReturns, "reaches a block that has ended"},
                                        std::pair{Fault::kTooFewBytes, "nobody can go on"},
                                        std::pair{Fault::kTooManyBytes, "nobody can go on"},
                                        std::pair{Fault::kOneTooMany, "comes to a barrier once too often"}}) {
        CAPTURE(text);
        CHECK(has(failure_of_share(fault, same), text));
      }
      for (const Fault fault : {Fault::kNoClusterBarrier, Fault::kOtherParity, Fault::kNotFreed}) {
        CAPTURE(static_cast<int>(fault));
        CHECK((failure_of_share(fault, same) != "" || !same));
      }
    });
    wkv::cuda::simt::set_architecture(80);
    bool same = false;
    CHECK(has(failure_of_share(Fault::kNone, same), "clusters that no GPU takes"));
  }

  TEST_CASE("blocks that run at the same time wait for each other, and what goes wrong with that is named") {
    using wkv::cuda::simt::kProcessors;
    in_every_order([](const std::string& order) {
      CAPTURE(order);
      bool right = false;
      for (const int blocks : {1, 3, kProcessors}) {
        CHECK(failure_of_pass(Fault::kNone, blocks, right) == "");
        CHECK(right);
      }
      const std::string race = failure_of_pass(Fault::kNoGridBarrier, kProcessors, right);
      CHECK((race != "" || !right));
      CHECK(has(failure_of_pass(Fault::kOneBlockReturns, 2, right), "nobody can go on"));
      CHECK(has(failure_of_pass(Fault::kNone, kProcessors + 1, right), "more blocks at the same time"));
    });
  }
}
