#pragma once

// Layer norm by a block of any number of threads, with the bits of the CPU's: sums in the order of
// layer_norm.h.

#include "kernels/cuda/span.cuh"
#include "kernels/layer_norm/cuda.h"
#include "kernels/layer_norm/layer_norm.h"

namespace wkv::cuda {

constexpr int kNormThreads = 512;
constexpr float kLayerNormEpsilon = 1e-5F;

// Sums of 32 lanes each, of x and of squared distances.
template <std::size_t kRows>
struct NormSums {
  float of_x[kRows][kWarp];
  float of_squares[kRows][kWarp];
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

// sums[row][...] = those of term(row, x, sum) over the lanes of each row.
template <std::size_t kRows, class Term>
WKV_DEVICE void sum_lanes(const float* const (&rows)[kRows], int size, float (&sums)[kRows][kWarp],
                          Term term) {
  const int lane = thread_index() % kWarp;
  for (int warp = thread_index() / kWarp; warp < kWarp; warp += block_threads() / kWarp) {
    float sum[kRows] = {};
    for (int i = warp * kWarp + lane; i < size; i += kNormLanes) {
      for (std::size_t row = 0; row < kRows; ++row) sum[row] = term(row, rows[row][i], sum[row]);
    }
    for (std::size_t row = 0; row < kRows; ++row) {
      sum[row] = warp_sum(sum[row]);
      if (lane == 0) sums[row][warp] = sum[row];
    }
  }
}

// Of rows in shared memory, for every thread; to be called once they are there. May be called again at once.
template <std::size_t kRows>
WKV_DEVICE void find_moments(const float* const (&rows)[kRows], int size, NormSums<kRows>& sums,
                             Moments (&found)[kRows]) {
  const int lane = thread_index() % kWarp;
  const auto count = static_cast<float>(size);
  sum_lanes(rows, size, sums.of_x, [](std::size_t, float x, float sum) { return sum + x; });
  sync_block();
  float mean[kRows];
  for (std::size_t row = 0; row < kRows; ++row) mean[row] = warp_sum(sums.of_x[row][lane]) / count;
  sum_lanes(rows, size, sums.of_squares,
            [&](std::size_t row, float x, float sum) { return square_of_distance(x, mean[row], sum); });
  sync_block();
  for (std::size_t row = 0; row < kRows; ++row) {
    found[row] = moments(mean[row], warp_sum(sums.of_squares[row][lane]), count, kLayerNormEpsilon);
  }
}

// The same for rows in the GPU's memory, by warps that take an eighth of a row's lanes at a time: 128 of
// them, four neighbouring ones in each thread.
constexpr int kEighth = kNormLanes / 8;
static_assert(kEighth == 4 * kWarp);
// How many numbers a lane may have.
constexpr int kLaneNumbers = (kMostChannels + kNormLanes - 1) / kNormLanes;

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

// Of the sums of a row that sum_rows() stored; by a whole warp.
WKV_DEVICE float mean_of_row(const NormSums<2>& sums, int row, int size) {
  return warp_sum(sums.of_x[row][thread_index() % kWarp]) / static_cast<float>(size);
}
WKV_DEVICE Moments moments_of_row(const NormSums<2>& sums, int row, int size) {
  return moments(mean_of_row(sums, row, size), warp_sum(sums.of_squares[row][thread_index() % kWarp]),
                 static_cast<float>(size), kLayerNormEpsilon);
}

// The sums of a row and, unless it is null, of another one. For every thread of a block.
WKV_DEVICE void sum_rows(const float* row, const float* other, int size, NormSums<2>& sums) {
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
    sum_eighth(numbers, eighth, size, sums.of_x[which], [](float number, float sum) { return sum + number; });
  });
  sync_block();  // the sums of x are there
  for_eighths_of_warp([&](const float* x, int which, int eighth) {
    if (!kept) numbers = load_lanes(x, eighth, size);
    const float mean = mean_of_row(sums, which, size);
    sum_eighth(numbers, eighth, size, sums.of_squares[which],
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

// Of the sums and then the rows, each of `channels` rounded up to whole quads.
WKV_BOTH constexpr int row_floats(int channels) { return (channels + 3) / 4 * 4; }
template <std::size_t kRows>
std::size_t norm_shared_bytes(int channels) {
  return sizeof(NormSums<kRows>) + kRows * static_cast<std::size_t>(row_floats(channels)) * sizeof(float);
}
static_assert(sizeof(NormSums<1>) + row_floats(kMostChannels) * sizeof(float) <= kMostSharedBytes);

}  // namespace wkv::cuda
