#include "kernels/wkv4/wkv4.h"

#include <algorithm>
#include <cmath>

namespace wkv::reference {

void wkv4(const Wkv4Arguments& a) {
  for (int i = 0; i < a.size; ++i) {
    double aa = static_cast<double>(a.aa[i]);
    double bb = static_cast<double>(a.bb[i]);
    double pp = static_cast<double>(a.pp[i]);
    for (int t = 0; t < a.tokens; ++t) {
      const std::ptrdiff_t at = t * a.stride + i;
      const double k = static_cast<double>(a.k[at]);
      const double v = static_cast<double>(a.v[at]);
      const double now = static_cast<double>(a.u[i]) + k;
      const double q = std::max(pp, now);
      const double average =
          (std::exp(pp - q) * aa + std::exp(now - q) * v) / (std::exp(pp - q) * bb + std::exp(now - q));
      a.y[at] = static_cast<float>(average / (1 + std::exp(-static_cast<double>(a.r[at]))));
      const double past = pp + static_cast<double>(a.w[i]);
      pp = std::max(past, k);
      aa = std::exp(past - pp) * aa + std::exp(k - pp) * v;
      bb = std::exp(past - pp) * bb + std::exp(k - pp);
    }
    a.aa[i] = static_cast<float>(aa);
    a.bb[i] = static_cast<float>(bb);
    a.pp[i] = static_cast<float>(pp);
  }
}

}  // namespace wkv::reference
