#include <cmath>

#include "kernels/activations/activations.h"

namespace wkv::reference {

namespace {
double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
}  // namespace

void relu_squared(float* x, int size) {
  for (int i = 0; i < size; ++i) x[i] = x[i] > 0.0F ? x[i] * x[i] : 0.0F;
}

void multiply_silu(float* x, const float* gate, int size) {
  for (int i = 0; i < size; ++i) {
    const double g = static_cast<double>(gate[i]);
    x[i] = static_cast<float>(static_cast<double>(x[i]) * g * sigmoid(g));
  }
}

void add(float* x, const float* y, int size) {
  for (int i = 0; i < size; ++i) x[i] += y[i];
}

void add_gated(float* x, const float* gate, const float* y, int size) {
  for (int i = 0; i < size; ++i) {
    const double gated = sigmoid(static_cast<double>(gate[i])) * static_cast<double>(y[i]);
    x[i] = static_cast<float>(static_cast<double>(x[i]) + gated);
  }
}

float log_sum_exp(const float* x, int size) {
  double highest = static_cast<double>(x[0]);
  for (int i = 1; i < size; ++i) highest = std::fmax(highest, static_cast<double>(x[i]));
  double sum = 0;
  for (int i = 0; i < size; ++i) sum += std::exp(static_cast<double>(x[i]) - highest);
  return static_cast<float>(highest + std::log(sum));
}

}  // namespace wkv::reference
