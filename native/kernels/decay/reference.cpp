#include <cmath>

#include "kernels/decay/decay.h"

namespace wkv::reference {

void forget_v6(float* x, int size) {
  for (int i = 0; i < size; ++i) {
    x[i] = static_cast<float>(-std::expm1(-std::exp(static_cast<double>(x[i]))));
  }
}

void forget_v7(float* x, int size) {
  for (int i = 0; i < size; ++i) {
    const double sigmoid = 1 / (1 + std::exp(-static_cast<double>(x[i])));
    x[i] = static_cast<float>(-std::expm1(-std::exp(-0.5) * sigmoid));
  }
}

}  // namespace wkv::reference
