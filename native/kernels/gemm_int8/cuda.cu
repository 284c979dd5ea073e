#include "kernels/gemm_int8/cuda.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/gemm_int8/cuda_clusters.cuh"
#include "kernels/gemm_int8/cuda_few.cuh"
#include "kernels/gemm_int8/cuda_many.cuh"

namespace wkv::cuda {

namespace {

// Up to here the time goes to reading weights.
constexpr int kFewTokens = 32;
// Of a grid's second dimension.
constexpr int kMaxBlocks = 65'535;

bool may_use_clusters = false;
int launches_of_clusters = 0;

int ceil_div(int value, int step) { return (value + step - 1) / step; }

// Returns how many blocks of `rows` rows there are; of each product, a multiple of `together`.
int place_blocks(GemmLaunch& launch, int rows, int together = 1) {
  int blocks = 0;
  for (int i = 0; i < launch.all.count; ++i) {
    launch.first_block[i] = blocks;
    blocks += ceil_div(launch.all.products[i].rows, rows * together) * together;
  }
  return blocks;
}

// Whether all groups are alike, and of whole stages.
bool suits_many(const GemmInt8Arguments& arguments) {
  for (int i = 0; i < arguments.count; ++i) {
    const QuantizedTokens& x = arguments.products[i].x;
    if (x.columns % x.group != 0 || x.group % kStageColumns != 0 || x.group > kMaxGroupOfMany) return false;
  }
  return true;
}

// The group of all products, if it is one that two stages of products by warpgroups make; or 0.
int wide_group(const GemmInt8Arguments& arguments) {
  const int group = arguments.products[0].x.group;
  if (group != 128 && group != 256) return 0;
  for (int i = 0; i < arguments.count; ++i) {
    if (arguments.products[i].x.group != group) return 0;
  }
  return group;
}

template <int kTiles, int kDepth>
void launch_few(GemmLaunch& all, cudaStream_t stream) {
  using Shared = FewShared<kTiles, kDepth>;
  const auto blocks = static_cast<unsigned>(place_blocks(all, kInt8PanelRows));
  launch(gemm_int8_few_kernel<kTiles, kDepth>,
         {blocks, static_cast<unsigned>(ceil_div(all.all.tokens, Shared::kTokens)), kGemmThreads,
          sizeof(Shared)},
         stream, all);
}

// As many stages as there is room for.
void launch_few_of_four(GemmLaunch& all, cudaStream_t stream) {
  static_assert(sizeof(FewShared<1, 4>) <= kMaxSharedBytes && sizeof(FewShared<2, 4>) <= kMaxSharedBytes &&
                sizeof(FewShared<4, 2>) <= kMaxSharedBytes);
  if (max_shared_bytes() >= sizeof(FewShared<4, 4>)) {
    launch_few<4, 4>(all, stream);
  } else {
    launch_few<4, 2>(all, stream);
  }
}

// Blocks with the same weights are neighbours: the second reads them from the cache.
template <class Shared>
Grid grid_of(GemmLaunch& all, int rows, int tokens) {
  const auto blocks = static_cast<unsigned>(place_blocks(all, rows));
  return {static_cast<unsigned>(ceil_div(all.all.tokens, tokens)), blocks, kGemmThreads, sizeof(Shared)};
}

template <int kPanels, int kParts, int kTiles, int kStages, int kBlocks>
void launch_many(GemmLaunch& all, cudaStream_t stream) {
  using Shared = ManyShared<kPanels, kParts, kTiles, kStages>;
  static_assert(sizeof(Shared) <= kMaxSharedBytes && kTokenStep % Shared::kTokens == 0);
  launch(gemm_int8_many_kernel<kPanels, kParts, kTiles, kStages, kBlocks>,
         grid_of<Shared>(all, kPanels * kInt8PanelRows, Shared::kTokens), stream, all);
}

template <int kPairs, int kTokens>
void launch_wide(GemmLaunch& all, cudaStream_t stream) {
  using Shared = WideShared<kPairs, kTokens>;
  static_assert(sizeof(Shared) <= kMaxWideSharedBytes && kTokenStep % kTokens == 0);
  launch(gemm_int8_wide_kernel<kPairs, kTokens>, grid_of<Shared>(all, kWideRows, kTokens), stream, all);
}

template <int kTokens>
void launch_wide(GemmLaunch& all, int group, cudaStream_t stream) {
  if (group == 256) {
    launch_wide<4, kTokens>(all, stream);
  } else {
    launch_wide<2, kTokens>(all, stream);
  }
}

template <int kPairs>
void launch_clusters(GemmLaunch& all, cudaStream_t stream) {
  using Shared = ClusterShared<kPairs>;
  static_assert(sizeof(Shared) <= kMaxWideSharedBytes && kTokenStep % kClusterTokens == 0);
  const auto rows = static_cast<unsigned>(place_blocks(all, kWideRows, kClusterHeight));
  const auto tokens = static_cast<unsigned>(ceil_div(all.all.tokens, kClusterTokens));
  const auto kernel = gemm_int8_clusters_kernel<kPairs>;
  const auto grid = [](unsigned x, unsigned y, unsigned width) {
    return Grid{x, y, kClusterThreads, sizeof(Shared), false, width, kClusterHeight};
  };
  // A GPU is of parts with some processors each, so that it has not room for as many blocks in large clusters
  // as in small ones.
  const auto rounds = [&](unsigned width) {
    return ceil_div(static_cast<int>(tokens * rows / (width * kClusterHeight)),
                    clusters_at_once(kernel, grid(tokens, rows, width)));
  };
  const unsigned width = tokens % 2 == 0 && rounds(2) <= rounds(1) ? 2 : 1;
  launch(kernel, grid(tokens, rows, width), stream, all);
  ++launches_of_clusters;
}

// Whether there are blocks for so many eighths of the processors.
bool keep_busy(int blocks, int eighths) { return 8 * blocks >= eighths * processor_count(); }

// Whether blocks of 128 tokens take less time than those of 64: one after another on each processor, and one
// of half the tokens takes 0.7 of the time (measured on an H100).
bool suits_128_tokens(int blocks_of_64, int blocks_of_128) {
  const int processors = processor_count();
  return 10 * ceil_div(blocks_of_128, processors) <= 7 * ceil_div(blocks_of_64, processors);
}

}  // namespace

void use_clusters(bool use) { may_use_clusters = use; }

int cluster_launches() { return launches_of_clusters; }

void gemm_int8(const GemmInt8Arguments& arguments, cudaStream_t stream) {
  GemmLaunch all{arguments, {}};
  // Blocks of so many rows and tokens.
  const auto blocks = [&](int rows, int tokens) {
    return place_blocks(all, rows) * ceil_div(arguments.tokens, tokens);
  };
  const bool many =
      arguments.tokens > kFewTokens && suits_many(arguments) && place_blocks(all, 64) <= kMaxBlocks;
  const int group_of_wide = many && has_wide_products() ? wide_group(arguments) : 0;
  if (arguments.tokens <= kTileTokens) {
    launch_few<1, 4>(all, stream);
  } else if (arguments.tokens <= 2 * kTileTokens) {
    launch_few<2, 4>(all, stream);
  } else if (group_of_wide != 0 && keep_busy(blocks(kWideRows, 64), 3)) {
    if (!suits_128_tokens(blocks(kWideRows, 64), blocks(kWideRows, 128))) {
      launch_wide<64>(all, group_of_wide, stream);
    } else if (!may_use_clusters) {
      launch_wide<128>(all, group_of_wide, stream);
    } else if (group_of_wide == 256) {
      launch_clusters<4>(all, stream);
    } else {
      launch_clusters<2>(all, stream);
    }
  } else if (many && keep_busy(blocks(128, 64), 8)) {
    launch_many<4, 2, 4, 3, 2>(all, stream);
  } else if (many && keep_busy(blocks(64, 64), 7)) {
    launch_many<2, 4, 2, 6, 2>(all, stream);
  } else {
    launch_few_of_four(all, stream);
  }
}

}  // namespace wkv::cuda
