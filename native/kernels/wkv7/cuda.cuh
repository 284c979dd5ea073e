#pragma once

// Sums over the channels of a head, as the CPU's sixteen lanes take them: by half a warp, whose lane l has
// the channels l, l + 16, ... and adds them in this order. Numbers beyond the head count as 0 and are taken
// along as on the CPU: they make 0 of a sum of -0, and NaN of one that meets infinity.

#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

constexpr int kLanes = 16;
// Heads of this size have kernels of their own.
constexpr int kFastSize = 64;
constexpr int kParts = kFastSize / kLanes;  // channels of a lane

WKV_DEVICE int lane_of_sum() { return thread_index() % kLanes; }
WKV_DEVICE int padded(int size) { return (size + kLanes - 1) / kLanes * kLanes; }
WKV_DEVICE float sum_over_lanes(float sum) {
  for (int mask = kLanes / 2; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
  return sum;
}

}  // namespace wkv::cuda
