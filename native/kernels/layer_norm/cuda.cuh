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
WKV_BOTH int row_floats(int channels) { return (channels + 3) / 4 * 4; }
template <std::size_t kRows>
std::size_t norm_shared_bytes(int channels) {
  return sizeof(NormSums<kRows>) + kRows * static_cast<std::size_t>(row_floats(channels)) * sizeof(float);
}

}  // namespace wkv::cuda
