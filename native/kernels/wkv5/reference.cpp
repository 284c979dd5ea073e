#include "kernels/wkv5/wkv5.h"

namespace wkv::reference {

void wkv5(const Wkv5Arguments& a) {
  for (int t = 0; t < a.tokens; ++t) {
    const float* r = a.r + t * a.stride;
    const float* k = a.k + t * a.stride;
    const float* v = a.v + t * a.stride;
    const float* forget = a.forget + t * a.forget_stride;
    float* y = a.y + t * a.stride;
    for (int j = 0; j < a.head_size; ++j) {
      double sum = 0;
      for (int i = 0; i < a.head_size; ++i) {
        float& s = a.state[i * a.head_size + j];
        const double kv = static_cast<double>(k[i]) * static_cast<double>(v[j]);
        sum += static_cast<double>(r[i]) * (static_cast<double>(s) + static_cast<double>(a.u[i]) * kv);
        s = static_cast<float>((1.0 - static_cast<double>(forget[i])) * static_cast<double>(s) + kv);
      }
      y[j] = static_cast<float>(sum);
    }
  }
}

}  // namespace wkv::reference
