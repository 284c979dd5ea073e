#pragma once

// Layer norm by a block: mean, then squared distances from it, in two passes. A thread sums every
// block_threads-th number in ascending order, warps add their lanes as a tree, and the warps' sums are added
// in order.

#include "kernels/layer_norm/cuda.h"

namespace wkv::cuda {

constexpr int kNormThreads = 256;
constexpr int kNormWarps = kNormThreads / kWarp;
constexpr float kLayerNormEpsilon = 1e-5F;

// Every thread gets the same bits. `partial` are kNormWarps floats of shared memory.
WKV_DEVICE float block_sum(float value, float* partial) {
  value = warp_sum(value);
  if (thread_index() % kWarp == 0) partial[thread_index() / kWarp] = value;
  sync_block();
  float sum = partial[0];
  for (int warp = 1; warp < kNormWarps; ++warp) sum += partial[warp];
  sync_block();
  return sum;
}

// output = norm of `size` numbers, load(i). A thread reads and writes the indices that are its own:
// thread_index() and every block_threads()-th after it.
template <class Load>
WKV_DEVICE void normalize(Load load, const Norm& norm, int size, float* output, float* partial) {
  const auto count = static_cast<float>(size);
  float sum = 0;
  for (int i = thread_index(); i < size; i += kNormThreads) {
    output[i] = load(i);
    sum += output[i];
  }
  const float mean = block_sum(sum, partial) / count;
  float squares = 0;
  for (int i = thread_index(); i < size; i += kNormThreads) {
    const float distance = output[i] - mean;
    squares = fused(distance, distance, squares);
  }
  const float variance = block_sum(squares, partial) / count;
  const float scale = 1.0F / root(variance + kLayerNormEpsilon);
  for (int i = thread_index(); i < size; i += kNormThreads) {
    output[i] = fused((output[i] - mean) * scale, norm.weight[i], norm.bias[i]);
  }
}

}  // namespace wkv::cuda
