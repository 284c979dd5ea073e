#include "kernels/gemm_int8/cuda.h"

#include "kernels/gemm_int8/cuda_few.cuh"
#include "kernels/gemm_int8/cuda_many.cuh"

namespace wkv::cuda {

namespace {

// Up to here the time goes to reading weights.
constexpr int kFewTokens = 32;
// What keeps a large GPU at work.
constexpr int kManyBlocks = 128;
// Of a grid's second dimension.
constexpr int kMostBlocks = 65'535;

int round_up(int value, int step) { return (value + step - 1) / step; }

// Returns how many blocks of `rows` rows there are.
int place_blocks(GemmLaunch& launch, int rows) {
  int blocks = 0;
  for (int i = 0; i < launch.all.count; ++i) {
    launch.first_block[i] = blocks;
    blocks += round_up(launch.all.products[i].rows, rows);
  }
  return blocks;
}

bool suits_many(const GemmInt8Arguments& arguments) {
  for (int i = 0; i < arguments.count; ++i) {
    const QuantizedTokens& x = arguments.products[i].x;
    if (x.columns % x.group != 0 || x.group % kStageColumns != 0 || x.group > kMostGroupOfMany) return false;
  }
  return true;
}

template <int kTiles>
void launch_few(GemmLaunch& all, cudaStream_t stream) {
  using Shared = FewShared<kTiles>;
  static_assert(sizeof(Shared) <= kMostSharedBytes);
  const auto blocks = static_cast<unsigned>(place_blocks(all, kInt8PanelRows));
  launch(gemm_int8_few_kernel<kTiles>,
         {blocks, static_cast<unsigned>(round_up(all.all.tokens, Shared::kTokens)), kGemmThreads,
          sizeof(Shared)},
         stream, all);
}

template <int kPanels, int kParts, int kTiles, int kStages, int kBlocks>
void launch_many(GemmLaunch& all, cudaStream_t stream) {
  using Shared = ManyShared<kPanels, kParts, kTiles, kStages>;
  static_assert(sizeof(Shared) <= kMostSharedBytes && kTokenStep % Shared::kTokens == 0);
  const auto blocks = static_cast<unsigned>(place_blocks(all, kPanels * kInt8PanelRows));
  // Blocks with the same weights are neighbours: the second reads them from the cache.
  launch(gemm_int8_many_kernel<kPanels, kParts, kTiles, kStages, kBlocks>,
         {static_cast<unsigned>(round_up(all.all.tokens, Shared::kTokens)), blocks, kGemmThreads,
          sizeof(Shared)},
         stream, all);
}

}  // namespace

void gemm_int8(const GemmInt8Arguments& arguments, cudaStream_t stream) {
  GemmLaunch all{arguments, {}};
  // Blocks of so many rows and tokens.
  const auto blocks = [&](int rows, int tokens) {
    return place_blocks(all, rows) * round_up(arguments.tokens, tokens);
  };
  const bool many =
      arguments.tokens > kFewTokens && suits_many(arguments) && place_blocks(all, 64) <= kMostBlocks;
  if (arguments.tokens <= kTileTokens) {
    launch_few<1>(all, stream);
  } else if (arguments.tokens <= 2 * kTileTokens) {
    launch_few<2>(all, stream);
  } else if (many && blocks(128, 64) > kManyBlocks) {
    launch_many<4, 2, 4, 3, 2>(all, stream);
  } else if (many && blocks(64, 64) >= kManyBlocks) {
    launch_many<2, 4, 2, 6, 2>(all, stream);
  } else {
    launch_few<4>(all, stream);
  }
}

}  // namespace wkv::cuda
