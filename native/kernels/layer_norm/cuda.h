#pragma once

#include "kernels/cuda/element.cuh"
#include "kernels/quantize/cuda.h"

namespace wkv::cuda {

// A row is normalized in shared memory, or by threads that keep six numbers for each lane of the sums.
constexpr int kMaxChannels = 6'080;

struct Norm {
  const float* weight;
  const float* bias;
};

// x[t] = layer norm of the embedding's row tokens[t].
struct EmbedArguments {
  const void* embedding;  // [vocabulary][channels]
  ElementType type;
  const int* tokens;
  Norm norm;
  float* x;  // [count][channels]
  int count;
  int channels;
};
void embed(const EmbedArguments& arguments, cudaStream_t stream);

// Quantizes the layer norm of some rows of x: out's token i is that of the row rows[i].
struct NormQuantizeArguments {
  const float* x;  // [...][channels]
  const int* rows;
  Norm norm;
  const float* input_scales;  // or null: all 1
  QuantizedTokens out;
  int count;
};
void norm_quantize(const NormQuantizeArguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
