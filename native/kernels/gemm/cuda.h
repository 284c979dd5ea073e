#pragma once

// Products of the LoRA matrices of RWKV-6 and RWKV-7 with activations, and what follows them number by
// number, with the bits of the CPU's kernels: sums in the order of gemm.h, which does not depend on how many
// other tokens there are.

#include "kernels/cuda/element.cuh"

namespace wkv::cuda {

// What becomes of a product's sum s.
enum class GemmEpilogue : int {
  kStore,            // output = s
  kTanh,             // output = tanh(s)
  kSigmoid,          // output = sigmoid(s)
  kBiasSigmoid,      // output = sigmoid(s + bias)
  kBiasForgetV6,     // output = forget_v6(s + bias); see decay.h
  kBiasForgetV7,     // output = forget_v7(s + bias)
  kBiasMoveTowards,  // output += sigmoid(s + bias) * (towards - output)
};

struct GemmProduct {
  const void* panels;  // [ceil(rows / 4)][ceil(columns / 16)][4][16], zeros beyond the matrix; see gemm.h
  ElementType type;
  const float* x;        // [tokens][columns]
  float* output;         // [tokens][rows]
  const float* bias;     // [rows], or null where the epilogue has none
  const float* towards;  // [tokens][rows], of kBiasMoveTowards
  int rows;
  int columns;
  GemmEpilogue epilogue;
};

constexpr int kMaxGemmProducts = 5;

struct GemmArguments {
  GemmProduct products[kMaxGemmProducts];
  int count;
  int tokens;
};
void gemm(const GemmArguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
