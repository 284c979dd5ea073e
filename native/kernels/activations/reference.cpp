#include <cmath>

#include "kernels/activations/activations.h"

namespace wkv::reference {

namespace {
double sigmoid_of(double x) { return 1.0 / (1.0 + std::exp(-x)); }
}  // namespace

void sigmoid(float* x, int size) {
  for (int i = 0; i < size; ++i) x[i] = static_cast<float>(sigmoid_of(static_cast<double>(x[i])));
}

void tanh(float* x, int size) {
  for (int i = 0; i < size; ++i) x[i] = static_cast<float>(std::tanh(static_cast<double>(x[i])));
}

void relu_squared(float* x, int size) {
  for (int i = 0; i < size; ++i) x[i] = x[i] > 0.0F ? x[i] * x[i] : 0.0F;
}

void multiply_silu(float* x, const float* gate, int size) {
  for (int i = 0; i < size; ++i) {
    const double g = static_cast<double>(gate[i]);
    x[i] = static_cast<float>(static_cast<double>(x[i]) * g * sigmoid_of(g));
  }
}

void add(float* x, const float* y, int size) {
  for (int i = 0; i < size; ++i) x[i] += y[i];
}

void multiply(float* x, const float* y, int size) {
  for (int i = 0; i < size; ++i) x[i] *= y[i];
}

void add_gated(float* x, const float* gate, const float* y, int size) {
  for (int i = 0; i < size; ++i) {
    const double gated = sigmoid_of(static_cast<double>(gate[i])) * static_cast<double>(y[i]);
    x[i] = static_cast<float>(static_cast<double>(x[i]) + gated);
  }
}

void move_towards(float* x, const float* gate, const float* y, int size) {
  for (int i = 0; i < size; ++i) {
    const double from = static_cast<double>(x[i]);
    const double part = sigmoid_of(static_cast<double>(gate[i]));
    x[i] = static_cast<float>(from + part * (static_cast<double>(y[i]) - from));
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
