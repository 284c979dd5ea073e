#pragma once

// What the parts of the kernel share: its arguments, and a block's shared memory.

#include "kernels/cuda/span.cuh"
#include "kernels/gemm_int8/cuda_product.cuh"
#include "kernels/layer_norm/cuda.cuh"
#include "kernels/rwkv5_layers/cuda.h"
#include "kernels/rwkv5_layers/cuda_rings.cuh"
#include "kernels/wkv5/cuda.cuh"

namespace wkv::cuda {

constexpr int kLayersWarps = 16;
constexpr int kLayersThreads = kLayersWarps * kWarp;
constexpr int kLayersGroups = 64;   // of a row
constexpr int kLayersUnits = 1280;  // of a phase's inputs
constexpr int kMaxLayers = 64;

// What is multiplied between two barriers of the grid.
struct LayersPhase {
  int first;  // of the matrices
  int end;
  int panels;
  Cut cut;  // of all of them
};
constexpr int kLayersPhases = 4;

struct LayersLaunch {
  Rwkv5LayersArguments all;
  LayersPhase phases[kLayersPhases];
  int first_panel[kRwkv5Matrices];  // in its phase
  int blocks;

  WKV_DEVICE int matrix_of(const LayersPhase& phase, int panel) const {
    int matrix = phase.first;
    while (matrix + 1 < phase.end && panel >= first_panel[matrix + 1]) ++matrix;
    return matrix;
  }
};

constexpr int kSpanHeads = kSpan / kWkv5FastSize;    // of a block
constexpr int kHeadColumns = kWkv5FastSize / kWarp;  // of a lane
static_assert(kSpanHeads * kWkv5Runs == kLayersWarps);

// Four heads of the recurrence.
struct LayersHeads {
  float r[kSpan];
  float k[kSpan];
  float v[kSpan];
  float forget[kSpan];
  float u[kSpan];
  float sums[kSpanHeads][kWkv5Runs][kWkv5FastSize];
  float bonus[kSpanHeads];
};

template <class Ring>
struct LayersShared {
  const unsigned char* panels[kMaxLayers][kRwkv5Matrices];
  typename Ring::Shared rings[kLayersWarps];
  // Of a phase: the token's codes, one input after another, and their scales. Or heads, between phases.
  union {
    Words4 codes[kLayersUnits];
    LayersHeads heads;
  };
  float x_scales[kMaxProducts][kLayersGroups];
  // What groups add to a panel's rows; two panels by turns.
  float partial[2][kLayersGroups][kWarp];
  NormSums sums[2];
};

}  // namespace wkv::cuda
