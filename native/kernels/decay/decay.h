#pragma once

namespace wkv {

// How much a token makes a state forget, 1 - w, from what a network computes for it; see kernels/wkv5 for why
// not w. In place, [size].
//
//   forget_v6: w = exp(-exp(x))                      (RWKV-6: arXiv 2404.05892, section 4)
//   forget_v7: w = exp(-exp(-1/2) * sigmoid(x))      (RWKV-7: arXiv 2503.14456, section 4)
using Forget = void (*)(float* x, int size);

namespace reference {
void forget_v6(float* x, int size);
void forget_v7(float* x, int size);
}  // namespace reference

}  // namespace wkv
