#include <algorithm>
#include <cmath>

#include "kernels/wkv7/wkv7.h"

namespace wkv::reference {

void wkv7(const Wkv7Arguments& a) {
  for (int t = 0; t < a.tokens; ++t) {
    const std::ptrdiff_t at = t * a.stride;
    for (int j = 0; j < a.head_size; ++j) {
      float* row = a.state + std::ptrdiff_t{j} * a.head_size;
      double taken = 0;
      for (int i = 0; i < a.head_size; ++i) {
        taken += static_cast<double>(row[i]) * static_cast<double>(a.kappa[at + i]);
      }
      double y = 0;
      for (int i = 0; i < a.head_size; ++i) {
        const double s = (1.0 - static_cast<double>(a.forget[at + i])) * static_cast<double>(row[i]) -
                         taken * static_cast<double>(a.b[at + i]) +
                         static_cast<double>(a.v[at + j]) * static_cast<double>(a.k[at + i]);
        row[i] = static_cast<float>(s);
        y += s * static_cast<double>(a.r[at + i]);
      }
      a.y[at + j] = static_cast<float>(y);
    }
  }
}

void wkv7_keys(const Wkv7KeysArguments& a) {
  double squares = 0;
  for (int i = 0; i < a.head_size; ++i) {
    squares += std::pow(static_cast<double>(a.k[i]) * static_cast<double>(a.k_k[i]), 2);
  }
  const double length = std::max(std::sqrt(squares), 1e-12);
  for (int i = 0; i < a.head_size; ++i) {
    const double k = static_cast<double>(a.k[i]);
    const double rate = static_cast<double>(a.a[i]);
    const double kappa = k * static_cast<double>(a.k_k[i]) / length;
    a.kappa[i] = static_cast<float>(kappa);
    a.b[i] = static_cast<float>(kappa * rate);
    a.k[i] = static_cast<float>(k * (1 + (rate - 1) * static_cast<double>(a.k_a[i])));
  }
}

void wkv7_bonus(const Wkv7BonusArguments& a) {
  double sum = 0;
  for (int i = 0; i < a.head_size; ++i) {
    sum += static_cast<double>(a.r[i]) * static_cast<double>(a.k[i]) * static_cast<double>(a.r_k[i]);
  }
  for (int i = 0; i < a.head_size; ++i) {
    a.y[i] = static_cast<float>(static_cast<double>(a.y[i]) + sum * static_cast<double>(a.v[i]));
  }
}

}  // namespace wkv::reference
