#pragma once

#include "kernels/activations/cuda.cuh"
#include "kernels/gated_norm/cuda.h"
#include "kernels/layer_norm/cuda.cuh"

namespace wkv::cuda {

constexpr int kGatedNormFastSize = 64;

WKV_DEVICE float gated(Gate gate, float value, float g) {
  if (gate == Gate::kNone) return value;
  return value * (gate == Gate::kSilu ? g * sigmoid(g) : g);
}

// The sum over a head of 64, of which sixteen lanes have four numbers each, in the order of layer_norm.h: the
// first and the last eight lanes have 32 neighbours each.
WKV_DEVICE float sum_fast_head(float (&numbers)[4]) {
  for (int mask = 4; mask > 0; mask /= 2) {
    WKV_UNROLL
    for (float& number : numbers) number += shuffle_xor(number, mask);
  }
  // Adding 0, as that order does 30 times, makes 0 of -0.
  const float half = ((numbers[0] + numbers[2]) + (numbers[1] + numbers[3])) + 0.0F;
  return half + shuffle_xor(half, 8);
}

WKV_DEVICE Moments moments_of_fast_head(const float* y, float epsilon) {
  constexpr auto kCount = static_cast<float>(kGatedNormFastSize);
  float numbers[4];
  WKV_UNROLL
  for (int i = 0; i < 4; ++i) numbers[i] = 0.0F + y[i];
  const float mean = sum_fast_head(numbers) / kCount;
  WKV_UNROLL
  for (int i = 0; i < 4; ++i) numbers[i] = square_of_distance(y[i], mean, 0);
  return moments(mean, sum_fast_head(numbers), kCount, epsilon);
}

}  // namespace wkv::cuda
