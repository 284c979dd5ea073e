#pragma once

// All layers of RWKV-5 (with gates, heads of 64) for one token of one session, in one kernel: with the bits
// of the kernels that do the same one after another (backend/cuda/rwkv5.cu, layers.cu).

#include "kernels/cuda/segment.h"
#include "kernels/gemm_int8/cuda.h"
#include "kernels/layer_norm/cuda.h"

namespace wkv::cuda {

enum Rwkv5Matrix : int {
  kAttReceptance,
  kAttKey,
  kAttValue,
  kAttGate,
  kAttOutput,
  kFfnKey,
  kFfnReceptance,
  kFfnValue,
  kRwkv5Matrices,
};

// A layer's weights, in the GPU's memory.
struct Rwkv5LayerWeights {
  const unsigned char* panels[kRwkv5Matrices];  // arranged
  const float* input_scales[kRwkv5Matrices];    // each may be null: all 1
  const float* mixes[kRwkv5Matrices];           // of those whose inputs are shifted
  Norm ln1;
  Norm ln2;
  Norm ln_x;
  const float* forget;  // [heads][64], as in kernels/wkv5/cuda.h
  const float* u;
};

struct Rwkv5LayersArguments {
  const Rwkv5LayerWeights* layers;  // in the GPU's memory
  int count;
  // Without panels, as each layer has its own. Outputs and inputs are of a single token; those of kAttOutput
  // and kFfnValue are x, the residual stream.
  QuantizedProduct products[kRwkv5Matrices];
  const Segment* segment;        // in the GPU's memory; one token
  std::ptrdiff_t layer_numbers;  // of a state: att_x, ffn_x, the recurrence
  float group_norm_epsilon;
  std::uint64_t* arrived;  // of whole_grid.cuh
};

// How weights come to the blocks, ahead of their products (cuda_rings.cuh).
enum class LayersKind : std::uint8_t { kNone, kLanes, kBulk };

// Whether the GPU has what it needs, and room for its blocks.
bool has_rwkv5_layers(LayersKind kind);
// Whether it is one for these products, of each of so many layers.
bool suits_rwkv5_layers(LayersKind kind, const QuantizedProduct (&products)[kRwkv5Matrices], int layers);
void rwkv5_layers(LayersKind kind, const Rwkv5LayersArguments& arguments, cudaStream_t stream);

// What models that are made from here on use where it suits. It is none before that has been measured on a
// GPU: tests and gpu-check ask for others.
void use_rwkv5_layers(LayersKind kind);
LayersKind used_rwkv5_layers();
// How often it has been launched.
int rwkv5_layers_launches();

}  // namespace wkv::cuda
