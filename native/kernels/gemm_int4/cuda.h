#pragma once

// Products of weights of 4 bits with activations of 8 bits on tensor cores, for one token or many: the sums
// of gemm_int4.h, in its order, with the CPU's bits.

#include "kernels/gemm_int8/cuda.h"

namespace wkv::cuda {

struct Int4Panels {
  unsigned char* panels;  // of gemm_int4.h, 16-byte aligned
  int rows;
  int columns;
  int group;  // at most kMaxInt4Group
};
// Arranges panels where they are (cuda_weights.cuh says how). To be called once, before any product.
void arrange_panels(const Int4Panels& arguments, cudaStream_t stream);

// As gemm_int8, with such panels, arranged.
void gemm_int4(const QuantizedProducts& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
