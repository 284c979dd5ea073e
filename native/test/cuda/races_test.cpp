// Only in the build whose kernels report each access.

#include <doctest/doctest.h>

#include <string>

#include "test/cuda/faulty.h"
#include "test/cuda/on_device.h"

using wkv::test::Fault;
using wkv::test::OnDevice;

namespace {

std::string failure_of(Fault fault) {
  constexpr std::size_t kNumbers = std::size_t{2} * wkv::test::kRotateThreads;
  OnDevice<int> input(std::vector<int>(kNumbers, 5));
  OnDevice<int> output(kNumbers);
  try {
    wkv::test::rotate({input.data(), output.data(), fault}, 2);
  } catch (const wkv::cuda::simt::Failure& failure) {
    return failure.what();
  }
  return "";
}

std::string failure_of_copy(Fault fault) {
  constexpr std::size_t kBytes = std::size_t{16} * wkv::cuda::kWarp;
  OnDevice<unsigned char> input(std::vector<unsigned char>(kBytes, 5));
  OnDevice<unsigned char> output(kBytes);
  try {
    wkv::test::copy({input.data(), output.data(), fault});
  } catch (const wkv::cuda::simt::Failure& failure) {
    return failure.what();
  }
  return "";
}

std::string failure_of_share(Fault fault) {
  constexpr std::size_t kBytes = std::size_t{16} * wkv::cuda::kWarp * wkv::test::kShareRounds;
  OnDevice<unsigned char> input(std::vector<unsigned char>(kBytes, 5));
  OnDevice<unsigned char> output(2 * kBytes);
  try {
    wkv::test::share({input.data(), output.data(), fault});
  } catch (const wkv::cuda::simt::Failure& failure) {
    return failure.what();
  }
  return "";
}

std::string failure_of_pass(Fault fault) {
  constexpr int kBlocks = 3;
  OnDevice<int> numbers(std::size_t{kBlocks} * wkv::cuda::kWarp);
  OnDevice<std::uint64_t> arrived(std::vector<std::uint64_t>{0});
  try {
    wkv::test::pass({numbers.data(), arrived.data(), kBlocks, fault});
  } catch (const wkv::cuda::simt::Failure& failure) {
    return failure.what();
  }
  return "";
}

}  // namespace

TEST_CASE("races are found in every order, also where the values are right") {
  wkv::test::in_every_order([](const std::string& order) {
    CAPTURE(order);
    CHECK(failure_of(Fault::kNone) == "");
    CHECK(failure_of(Fault::kNoBarrier).find("race: ") != std::string::npos);
    CHECK(failure_of(Fault::kBlocksShare).find("race: writes") != std::string::npos);
    CHECK(failure_of_copy(Fault::kOtherLane) == "");
    CHECK(failure_of_copy(Fault::kOtherLaneEarly).find("race: ") != std::string::npos);
  });
}

TEST_CASE("races between the blocks of a cluster are found") {
  wkv::cuda::simt::set_architecture(90);
  int found = 0;
  wkv::test::in_every_order([&](const std::string& order) {
    CAPTURE(order);
    CHECK(failure_of_share(Fault::kNone) == "");
    for (const Fault fault : {Fault::kOtherParity, Fault::kNoSync}) {
      CAPTURE(static_cast<int>(fault));
      CHECK(failure_of_share(fault).find("race: ") != std::string::npos);
    }
    // Where bytes of the next round are taken for those of this one, only values are wrong.
    found += failure_of_share(Fault::kNotFreed).find("race: ") == std::string::npos ? 0 : 1;
  });
  CHECK(found > 0);
  wkv::cuda::simt::set_architecture(80);
}

TEST_CASE("races between blocks that run at the same time are found") {
  wkv::test::in_every_order([&](const std::string& order) {
    CAPTURE(order);
    CHECK(failure_of_pass(Fault::kNone) == "");
    CHECK(failure_of_pass(Fault::kNoGridBarrier).find("race: ") != std::string::npos);
  });
}
