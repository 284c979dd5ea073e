#include <cmath>

#include "kernels/layer_norm/layer_norm.h"

namespace wkv::reference {

void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, int size,
                float* output) {
  double mean = 0;
  for (int i = 0; i < size; ++i) mean += static_cast<double>(x[i]);
  mean /= size;
  double variance = 0;
  for (int i = 0; i < size; ++i) {
    const double d = static_cast<double>(x[i]) - mean;
    variance += d * d;
  }
  variance /= size;
  const double scale = 1.0 / std::sqrt(variance + static_cast<double>(epsilon));
  for (int i = 0; i < size; ++i) {
    const double normal = (static_cast<double>(x[i]) - mean) * scale;
    output[i] = static_cast<float>(normal * static_cast<double>(weight[i]) + static_cast<double>(bias[i]));
  }
}

}  // namespace wkv::reference
