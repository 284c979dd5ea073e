#include "kernels/gemm_int8/cuda.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/gemm_int8/cuda_clusters.cuh"
#include "kernels/gemm_int8/cuda_launch.cuh"

namespace wkv::cuda {

namespace {

bool may_use_clusters = false;
int launches_of_clusters = 0;

// The group of all products, if it is one that two stages of products by warpgroups make; or 0.
int wide_group(const QuantizedProducts& arguments) {
  const int group = arguments.products[0].x.group;
  if (group != 128 && group != 256) return 0;
  for (int i = 0; i < arguments.count; ++i) {
    if (arguments.products[i].x.group != group) return 0;
  }
  return group;
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

// Whether blocks of 128 tokens take less time than those of 64: one after another on each processor, and one
// of half the tokens takes 0.7 of the time (measured on an H100).
bool suits_128_tokens(int blocks_of_64, int blocks_of_128) {
  const int processors = processor_count();
  return 10 * ceil_div(blocks_of_128, processors) <= 7 * ceil_div(blocks_of_64, processors);
}

}  // namespace

void use_clusters(bool use) { may_use_clusters = use; }

int cluster_launches() { return launches_of_clusters; }

void gemm_int8(const QuantizedProducts& arguments, cudaStream_t stream) {
  GemmLaunch all{arguments, {}};
  // Blocks of so many rows and tokens.
  const auto blocks = [&](int rows, int tokens) {
    return place_blocks(all, rows) * ceil_div(arguments.tokens, tokens);
  };
  const bool many = suits_many<Int8Weights>(all);
  const int group_of_wide = many && has_wide_products() ? wide_group(arguments) : 0;
  if (arguments.tokens <= kTileTokens) {
    launch_few<Int8Weights, 1, 4>(all, stream);
  } else if (arguments.tokens <= 2 * kTileTokens) {
    launch_few<Int8Weights, 2, 4>(all, stream);
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
    launch_many<Int8Weights, 4, 2, 4, 3, 2>(all, stream);
  } else if (many && keep_busy(blocks(64, 64), 7)) {
    launch_many<Int8Weights, 2, 4, 2, 6, 2>(all, stream);
  } else {
    launch_few_of_four<Int8Weights>(all, stream);
  }
}

}  // namespace wkv::cuda
