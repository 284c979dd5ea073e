#pragma once

// How much a token makes a state forget (decay.h), operation by operation those of decay.inl.h, with the same
// bits.

#include "kernels/activations/cuda.cuh"

namespace wkv::cuda {

WKV_DEVICE float forget_v6(float x) { return one_minus_exp(exponential(x)); }
WKV_DEVICE float forget_v7(float x) { return one_minus_exp(0.60653066F * sigmoid(x)); }

}  // namespace wkv::cuda
