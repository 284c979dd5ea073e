#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/sampling/sampling.h"

namespace wkv::reference {

bool copy_finite(float* y, const float* x, int size) {
  std::copy_n(x, size, y);
  return std::all_of(x, x + size, [](float value) { return std::isfinite(value); });
}

void maxima(float* y, const float* x, int size) {
  const int groups = (size + kMaximaBlock - 1) / kMaximaBlock * 16;
  std::fill_n(y, groups, -std::numeric_limits<float>::infinity());
  for (int i = 0; i < size; ++i) {
    float& highest = y[i / kMaximaBlock * 16 + i % 16];
    highest = std::max(highest, x[i]);
  }
}

double weigh(float* y, const float* x, float highest, float scale, int size) {
  double sum = 0;
  for (int i = 0; i < size; ++i) {
    const double exponent =
        (static_cast<double>(x[i]) - static_cast<double>(highest)) * static_cast<double>(scale);
    const double weight = std::exp(std::max(exponent, -87.0));
    y[i] = static_cast<float>(weight);
    sum += weight;
  }
  return sum;
}

double sum_at_least(const float* w, const float* x, float lowest, int size) {
  double sum = 0;
  for (int i = 0; i < size; ++i) sum += x[i] >= lowest ? static_cast<double>(w[i]) : 0;
  return sum;
}

int collect(std::uint32_t* indices, const float* x, float lowest, float below, int size, int capacity) {
  int count = 0;
  for (int i = 0; i < size; ++i) {
    if (!(x[i] >= lowest && x[i] < below)) continue;
    if (count == capacity) return capacity + 1;
    indices[count++] = static_cast<std::uint32_t>(i);
  }
  return count;
}

void add_to_buckets(double* sums, const float* w, const float* x, float highest, float scale, int size) {
  for (int i = 0; i < size; ++i) {
    const float place = std::min((highest - x[i]) * scale, static_cast<float>(kBuckets - 1));
    sums[static_cast<int>(std::nearbyint(place))] += static_cast<double>(w[i]);
  }
}

}  // namespace wkv::reference
