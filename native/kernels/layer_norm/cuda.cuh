#pragma once

// Layer norm by a block of any number of threads, with the bits of the CPU's: sums in the order of
// layer_norm.h.

#include "kernels/cuda/span.cuh"
#include "kernels/layer_norm/cuda.h"
#include "kernels/layer_norm/layer_norm.h"

namespace wkv::cuda {

constexpr int kNormThreads = 512;

// A row's sums of 32 lanes each, of x and of squared distances.
struct NormSums {
  float of_x[kWarp];
  float of_squares[kWarp];
};
static_assert(kNormLanes == kWarp * kWarp);

struct Moments {
  float mean;
  float scale;  // 1 / deviation
};

WKV_DEVICE float square_of_distance(float x, float mean, float sum) {
  const float distance = x - mean;
  return fused(distance, distance, sum);
}
WKV_DEVICE Moments moments(float mean, float squares, float count, float epsilon) {
  return {mean, 1.0F / root(squares / count + epsilon)};
}
WKV_DEVICE float normal(float x, const Moments& moments, float weight, float bias) {
  return fused((x - moments.mean) * moments.scale, weight, bias);
}

// sums = those of term(x, sum) over the lanes of the row.
template <class Term>
WKV_DEVICE void sum_lanes(const float* row, int size, float (&sums)[kWarp], Term term) {
  const int lane = thread_index() % kWarp;
  for (int warp = thread_index() / kWarp; warp < kWarp; warp += block_threads() / kWarp) {
    float sum = 0;
    for (int i = warp * kWarp + lane; i < size; i += kNormLanes) sum = term(row[i], sum);
    sum = warp_sum(sum);
    if (lane == 0) sums[warp] = sum;
  }
}

// Of all 32 lanes' sums; by a whole warp.
WKV_DEVICE float mean_of(const NormSums& sums, int size) {
  return warp_sum(sums.of_x[thread_index() % kWarp]) / static_cast<float>(size);
}
WKV_DEVICE Moments moments_of(const NormSums& sums, int size) {
  return moments(mean_of(sums, size), warp_sum(sums.of_squares[thread_index() % kWarp]),
                 static_cast<float>(size), kLayerNormEpsilon);
}

// Of a row in shared memory, for every thread; to be called once it is there.
WKV_DEVICE Moments find_moments(const float* row, int size, NormSums& sums) {
  sum_lanes(row, size, sums.of_x, [](float x, float sum) { return sum + x; });
  sync_block();  // the sums of the row are there
  const float mean = mean_of(sums, size);
  sum_lanes(row, size, sums.of_squares, [&](float x, float sum) { return square_of_distance(x, mean, sum); });
  sync_block();  // the sums of its squares are there
  return moments(mean, warp_sum(sums.of_squares[thread_index() % kWarp]), static_cast<float>(size),
                 kLayerNormEpsilon);
}

// The same for rows in the GPU's memory, by warps that take an eighth of a row's lanes at a time: 128 of
// them, four neighbouring ones in each thread.
constexpr int kEighth = kNormLanes / 8;
static_assert(kEighth == 4 * kWarp);
// How many numbers a lane may have.
constexpr int kLaneNumbers = (kMaxChannels + kNormLanes - 1) / kNormLanes;

// The numbers of four lanes, 0 beyond the row; `column` is the first of them.
struct LaneNumbers {
  int column;
  Floats4 of[kLaneNumbers];
};
WKV_DEVICE LaneNumbers load_lanes(const float* row, int eighth, int size) {
  LaneNumbers numbers;
  numbers.column = eighth * kEighth + thread_index() % kWarp * 4;
  WKV_UNROLL
  for (int i = 0; i < kLaneNumbers; ++i) {
    numbers.of[i] = load_quad(row, numbers.column + i * kNormLanes, size);
  }
  return numbers;
}

// Those of the 32 sums of a row that belong to the eighth are stored, those of term(x, sum) over the lanes.
template <class Term>
WKV_DEVICE void sum_eighth(const LaneNumbers& numbers, int eighth, int size, float (&sums)[kWarp],
                           Term term) {
  float sum[4] = {};
  WKV_UNROLL
  for (int i = 0; i < kLaneNumbers; ++i) {
    const Floats4& x = numbers.of[i];
    const int left = size - numbers.column - i * kNormLanes;
    if (left > 0) sum[0] = term(x.x, sum[0]);
    if (left > 1) sum[1] = term(x.y, sum[1]);
    if (left > 2) sum[2] = term(x.z, sum[2]);
    if (left > 3) sum[3] = term(x.w, sum[3]);
  }
  // Lanes that are 16, 8 and 4 apart are in other threads, 32 lanes in eight of them.
  WKV_UNROLL
  for (int mask = 4; mask > 0; mask /= 2) {
    WKV_UNROLL
    for (float& each : sum) each += shuffle_xor(each, mask);
  }
  const int lane = thread_index() % kWarp;
  if (lane % 8 == 0) sums[eighth * 4 + lane / 8] = (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

// The sums of a row and, unless it is null, of another one. For every thread of a block.
WKV_DEVICE void sum_rows(const float* row, const float* other, int size, NormSums (&sums)[2]) {
  const int eighths = other == nullptr ? 8 : 2 * 8;
  const int warps = block_threads() / kWarp;
  // Where a warp has only one, it keeps the numbers for the second sum.
  const bool kept = warps >= eighths;
  LaneNumbers numbers = {};
  const auto for_eighths_of_warp = [&](auto body) {
    WKV_KEEP_LOOP
    for (int index = thread_index() / kWarp; index < eighths; index += warps) {
      body(index < 8 ? row : other, index / 8, index % 8);
    }
  };
  for_eighths_of_warp([&](const float* x, int which, int eighth) {
    numbers = load_lanes(x, eighth, size);
    sum_eighth(numbers, eighth, size, sums[which].of_x, [](float number, float sum) { return sum + number; });
  });
  sync_block();  // the sums of x are there
  for_eighths_of_warp([&](const float* x, int which, int eighth) {
    if (!kept) numbers = load_lanes(x, eighth, size);
    const float mean = mean_of(sums[which], size);
    sum_eighth(numbers, eighth, size, sums[which].of_squares,
               [&](float number, float sum) { return square_of_distance(number, mean, sum); });
  });
  sync_block();  // the sums of squares are there
}

// The norm of a lane's numbers.
WKV_DEVICE Part normal(const Part& x, const Moments& moments, const Part& weight, const Part& bias) {
  Part result;
  WKV_UNROLL
  for (int i = 0; i < kPartNumbers; ++i) result.of[i] = normal(x.of[i], moments, weight.of[i], bias.of[i]);
  return result;
}

// A span for each warp, as far as the block goes.
inline unsigned norm_threads(int channels) {
  const int threads = (channels + kSpan - 1) / kSpan * kWarp;
  return static_cast<unsigned>(threads < kNormThreads ? threads : kNormThreads);
}

// Of the sums and then a row, of `channels` rounded up to whole quads.
WKV_BOTH constexpr std::size_t norm_shared_bytes(int channels) {
  return sizeof(NormSums) + static_cast<std::size_t>((channels + 3) / 4 * 4) * sizeof(float);
}
static_assert(norm_shared_bytes(kMaxChannels) <= kMaxSharedBytes);

}  // namespace wkv::cuda
