#include "kernels/token_shift/token_shift.h"

namespace wkv::reference {

void token_shift(const float* current, const float* previous, const float* mix, int size, float* output) {
  for (int i = 0; i < size; ++i) {
    const double m = static_cast<double>(mix[i]);
    output[i] = static_cast<float>(static_cast<double>(current[i]) * m +
                                   static_cast<double>(previous[i]) * (1.0 - m));
  }
}

}  // namespace wkv::reference
