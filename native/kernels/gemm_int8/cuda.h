#pragma once

// Products of weights of 8 bits with activations of 8 bits on tensor cores, for one token or many.
//
// Weights are the panels of gemm_int8.h, arranged for the instruction. Activations are in tiles of eight
// tokens. Sums are those of gemm_int8.h, in its order: so the bits are those of the CPU, and do not depend on
// how many other tokens there are.

#include "kernels/quantize/cuda.h"

namespace wkv::cuda {

enum class Epilogue : int {
  kStore,        // output = sum
  kReluSquared,  // output = max(sum, 0)^2
  kAdd,          // output += sum
  kAddGated,     // output += sigmoid(gate) * sum
};

struct Int8Panels {
  unsigned char* panels;  // of gemm_int8.h, 16-byte aligned
  int rows;
  int columns;
  int group;
};
// Arranges panels where they are (cuda_product.cuh says how). To be called once, before any product.
void arrange_panels(const Int8Panels& arguments, cudaStream_t stream);

// With weights of 8 bits, or for gemm_int4 of 4.
struct QuantizedProduct {
  const unsigned char* panels;  // arranged
  QuantizedTokens x;
  float* output;      // [tokens][rows]
  const float* gate;  // [tokens][rows], of kAddGated
  int rows;
  Epilogue epilogue;
};

constexpr int kMaxProducts = 4;

struct QuantizedProducts {
  QuantizedProduct products[kMaxProducts];
  int count;
  int tokens;
};
void gemm_int8(const QuantizedProducts& arguments, cudaStream_t stream);

// Whether clusters of blocks multiply where the GPU has them (cuda_clusters.cuh). They do not before that has
// been measured on one: tests and gpu-check ask for it, while nothing else runs.
void use_clusters(bool use);
// How many products they have done.
int cluster_launches();

}  // namespace wkv::cuda
