#pragma once

// How the kernels for few and for many tokens are launched, whatever the weights are stored in.

#include "kernels/cuda/launch.cuh"
#include "kernels/gemm_int8/cuda_few.cuh"
#include "kernels/gemm_int8/cuda_many.cuh"

namespace wkv::cuda {

// Up to here the time goes to reading weights.
constexpr int kFewTokens = 32;
// Of a grid's second dimension.
constexpr int kMaxBlocks = 65'535;

inline int ceil_div(int value, int step) { return (value + step - 1) / step; }

// Returns how many blocks of `rows` rows there are; of each product, a multiple of `together`.
inline int place_blocks(GemmLaunch& launch, int rows, int together = 1) {
  int blocks = 0;
  for (int i = 0; i < launch.all.count; ++i) {
    launch.first_block[i] = blocks;
    blocks += ceil_div(launch.all.products[i].rows, rows * together) * together;
  }
  return blocks;
}

// Whether there are blocks for so many eighths of the processors.
inline bool keep_busy(int blocks, int eighths) { return 8 * blocks >= eighths * processor_count(); }

// Whether these are many tokens, in groups of whole stages, the last one of a row not shorter than the
// others.
template <class Weights>
bool suits_many(GemmLaunch& launch) {
  if (launch.all.tokens <= kFewTokens) return false;
  for (int i = 0; i < launch.all.count; ++i) {
    const QuantizedTokens& x = launch.all.products[i].x;
    if (x.columns % x.group != 0 || x.group % kStageColumns != 0) return false;
    if (x.group > Weights::kMaxGroupOfMany) return false;
  }
  return place_blocks(launch, 64) <= kMaxBlocks;
}

template <class Weights, int kTiles, int kDepth>
void launch_few(GemmLaunch& all, cudaStream_t stream) {
  using Shared = FewShared<Weights, kTiles, kDepth>;
  const auto blocks = static_cast<unsigned>(place_blocks(all, kInt8PanelRows));
  launch(gemm_few_kernel<Weights, kTiles, kDepth>,
         {blocks, static_cast<unsigned>(ceil_div(all.all.tokens, Shared::kTokens)), kGemmThreads,
          sizeof(Shared)},
         stream, all);
}

// Of 32 tokens a block; as many stages as there is room for.
template <class Weights>
void launch_few_of_four(GemmLaunch& all, cudaStream_t stream) {
  static_assert(sizeof(FewShared<Weights, 1, 4>) <= kMaxSharedBytes &&
                sizeof(FewShared<Weights, 2, 4>) <= kMaxSharedBytes &&
                sizeof(FewShared<Weights, 4, 2>) <= kMaxSharedBytes);
  if (max_shared_bytes() >= sizeof(FewShared<Weights, 4, 4>)) {
    launch_few<Weights, 4, 4>(all, stream);
  } else {
    launch_few<Weights, 4, 2>(all, stream);
  }
}

// Blocks with the same weights are neighbours: the second reads them from the cache.
template <class Shared>
Grid grid_of(GemmLaunch& all, int rows, int tokens) {
  const auto blocks = static_cast<unsigned>(place_blocks(all, rows));
  return {static_cast<unsigned>(ceil_div(all.all.tokens, tokens)), blocks, kGemmThreads, sizeof(Shared)};
}

template <class Weights, int kPanels, int kParts, int kTiles, int kStages, int kBlocks>
void launch_many(GemmLaunch& all, cudaStream_t stream) {
  using Shared = ManyShared<Weights, kPanels, kParts, kTiles, kStages>;
  static_assert(sizeof(Shared) <= kMaxSharedBytes && kTokenStep % Shared::kTokens == 0);
  launch(gemm_many_kernel<Weights, kPanels, kParts, kTiles, kStages, kBlocks>,
         grid_of<Shared>(all, kPanels * kInt8PanelRows, Shared::kTokens), stream, all);
}

}  // namespace wkv::cuda
