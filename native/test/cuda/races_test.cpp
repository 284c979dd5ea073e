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
