#pragma once

// Activations of 8 bits on the GPU: the codes and scales of quantize.h, with the same bits, in tiles of eight
// tokens, the width of the tensor cores' products. (Its offsets are not needed: weights are signed here.)

#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

constexpr int kTileTokens = 8;
// Buffers have room for a multiple of this many tokens: products read whole tiles, and use what is there.
constexpr int kTokenStep = 128;

struct QuantizedTokens {
  std::int8_t* codes;  // [tile][padded_columns / 16][token of the tile][16]
  float* scales;       // [group][stride]
  int stride;          // a multiple of kTokenStep
  int columns;
  int group;
};

struct QuantizeArguments {
  const float* x;             // [tokens][columns]
  const float* input_scales;  // [columns], or null: all 1
  QuantizedTokens out;
  int tokens;
};
void quantize(const QuantizeArguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
