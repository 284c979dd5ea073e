#pragma once

// The products of cuda_wide.cuh, with clusters of two blocks of rows by one or two of tokens: of what two
// blocks have in common, each copies half, to both. So the second-level cache is read half as often where
// there are four, and three quarters as often where there are two.
//
// A third warpgroup does nothing but copy, two stages for a group, and gives its registers to those that
// multiply. A stage is full when all of its bytes have come, and free when the eight warps that multiply are
// done with it, in each block that it is copied to.

#include <cstddef>

#include "kernels/cuda/clusters.cuh"
#include "kernels/gemm_int8/cuda_wide.cuh"

namespace wkv::cuda {

constexpr int kClusterTokens = 128;  // of a block
constexpr int kClusterHeight = 2;    // blocks of rows
constexpr int kCopyWarps = 4;
constexpr int kClusterThreads = kGemmThreads + kCopyWarps * kWarp;
// Of a thread: of those that multiply, and of the others.
constexpr int kMultiplyRegisters = 232;
constexpr int kCopyRegisters = 40;
// What the block is launched with: as many for each thread, a multiple of 8.
constexpr int kLaunchRegisters = 65'536 / kClusterThreads / 8 * 8;
static_assert(kGemmThreads * kMultiplyRegisters + kCopyWarps * kWarp * kCopyRegisters <=
              kClusterThreads * kLaunchRegisters);

template <int kPairs>
struct ClusterShared : WideShared<kPairs, kClusterTokens> {
  Barrier full[kWideStages];
  Barrier free[kWideStages];
};

// A stage's place in the ring, and how often the ring has come around.
struct StageTurn {
  int slot = 0;
  int parity = 0;

  WKV_DEVICE void advance() {
    slot = after<kWideStages>(slot);
    parity ^= slot == 0 ? 1 : 0;
  }
};

// What a lane of the warps that copy brings: the same piece of every stage, or of every group's scales. The
// blocks of a cluster whose rank is the same but for x have the same weights, those whose rank is the same
// but for y the same tokens.
template <int kPairs>
struct ClusterPiece {
  using Shared = ClusterShared<kPairs>;
  static constexpr int kUnits = Shared::kUnits;
  static constexpr int kTileBytes = kUnits * kUnitCodes;  // in a stage
  static constexpr int kBlockTiles = Shared::kTiles / kClusterHeight;

  const unsigned char* from = nullptr;
  std::ptrdiff_t to_second = 0;  // from the first stage of a group to the second
  std::ptrdiff_t to_next = 0;    // and from there to the next group's first
  int place = 0;                 // in a stage or in a group's scales, in Words4
  int bytes = 0;                 // none
  unsigned mask = 0;             // of the blocks that it goes to
  bool of_stage = true;

  WKV_DEVICE ClusterPiece(const QuantizedProduct& product, const Cut& cut, int first_panel, int first_token) {
    const auto width = static_cast<unsigned>(cluster_width());
    const auto rank = static_cast<unsigned>(cluster_rank());
    const unsigned x = rank % width;
    const unsigned y = rank / width;
    const int thread = thread_index() - kGemmThreads;
    const auto panel_at = [&](int panel) {
      // Behind the last panel, the last one again.
      const int last = (product.rows - 1) / kInt8PanelRows;
      const int own = first_panel + panel;
      return product.panels + (own < last ? own : last) * cut.panel_bytes;
    };
    // Neighbours are in different warps, which begin their copies at the same time.
    int index = thread % kWarp * kCopyWarps + thread / kWarp;
    const int weights = kWidePanels * kUnits / static_cast<int>(width);
    if (index < weights) {
      const int panel = index / kUnits * static_cast<int>(width) + static_cast<int>(x);
      const int unit = index % kUnits;
      from = panel_at(panel) + unit * kUnitBytes;
      to_second = kUnits * kUnitBytes;
      to_next = cut.group_bytes - to_second;
      place = (unit * kWidePanels + panel) * kInt8PanelRows;
      bytes = kUnitBytes;
      mask = ((1U << width) - 1U) << y * width;
      return;
    }
    index -= weights;
    if (index < kBlockTiles) {
      const int tile = index * kClusterHeight + static_cast<int>(y);
      from = reinterpret_cast<const unsigned char*>(product.x.codes) +
             (first_token / kTileTokens + tile) * cut.tile_bytes;
      to_second = kTileBytes;
      to_next = kTileBytes;
      place = static_cast<int>(offsetof(typename Shared::Stage, codes) / sizeof(Words4)) +
              tile * kUnits * kTileTokens;
      bytes = kTileBytes;
      mask = (1U | 1U << width) << x;
      return;
    }
    index -= kBlockTiles;
    of_stage = false;
    mask = 1U << rank;
    if (index < kWidePanels) {
      from = panel_at(index) + static_cast<std::ptrdiff_t>(cut.in_group) * kUnitBytes;
      to_next = cut.group_bytes;
      place = index * (kScalesBytes / static_cast<int>(sizeof(Words4)));
      bytes = kScalesBytes;
    } else if (index == kWidePanels) {
      constexpr auto kBytes = static_cast<int>(sizeof(float));
      from = reinterpret_cast<const unsigned char*>(product.x.scales + first_token);
      to_next = static_cast<std::ptrdiff_t>(product.x.stride) * kBytes;
      place = static_cast<int>(offsetof(typename Shared::Group, x_scales) / sizeof(Words4));
      bytes = kClusterTokens * kBytes;
    }
  }
};

template <int kPairs>
WKV_DEVICE void copy_stages(ClusterShared<kPairs>& shared, int groups, ClusterPiece<kPairs> piece) {
  using Shared = ClusterShared<kPairs>;
  StageTurn turn;
  int place_of_group = 0;
  WKV_KEEP_LOOP
  for (int stage = 0; stage < 2 * groups; ++stage) {
    Barrier& full = shared.full[turn.slot];
    const bool begins = stage % 2 == 0;
    // The first time around, nobody has it.
    wait_barrier(shared.free[turn.slot], turn.parity ^ 1);
    sync_warp();  // no lane without a piece falls two phases behind
    if (thread_index() == kGemmThreads) {
      arrive_expecting(full, static_cast<int>(sizeof(typename Shared::Stage) +
                                              (begins ? sizeof(typename Shared::Group) : 0)));
    }
    if (piece.bytes > 0 && (piece.of_stage || begins)) {
      Words4* const to = piece.of_stage ? reinterpret_cast<Words4*>(&shared.stages[turn.slot])
                                        : reinterpret_cast<Words4*>(&shared.groups[place_of_group]);
      begin_bulk_copy(to + piece.place, piece.from, piece.bytes, full, piece.mask);
    }
    piece.from += begins ? piece.to_second : piece.to_next;
    if (begins) place_of_group = after<Shared::kGroups>(place_of_group);
    turn.advance();
  }
}

template <int kPairs>
WKV_DEVICE void multiply_stages(ClusterShared<kPairs>& shared, int groups,
                                WideSums<kPairs, kClusterTokens>& sums) {
  const int lane = thread_index() % kWarp;
  const int width = cluster_width();
  // Who copies to this block: itself, and one for each of the cluster's dimensions.
  const int copiers = width == 1 ? 2 : 3;
  const int copier = cluster_rank() ^ (lane == 0 ? 0 : lane == 1 ? width : 1);
  StageTurn next;
  StageTurn done;
  int place_of_group = 0;
  const auto multiply = [&](bool first) {
    wait_barrier(shared.full[next.slot], next.parity);
    sums.multiply(shared.stages[next.slot], first);
    next.advance();
  };
  const auto free_stage = [&] {
    // Scales were read as any memory is, and what the engine copies in their place would not wait for that.
    fence_proxy_async();
    sync_warp();
    if (lane < copiers) arrive_at(shared.free[done.slot], copier);
    done.advance();
  };
  const auto add_before = [&] {
    sums.add(shared.groups[place_of_group]);
    place_of_group = after<ClusterShared<kPairs>::kGroups>(place_of_group);
  };
  WKV_KEEP_LOOP
  for (int number = 0; number < groups; ++number) {
    multiply(true);
    if (number > 0) add_before();
    multiply(false);
    wait_products<1>();
    free_stage();
    wait_products<0>();
    free_stage();
    sums.keep();
  }
  add_before();
}

template <int kPairs>
WKV_DEVICE void gemm_int8_clusters(const GemmLaunch& a) {
  auto& shared = shared_memory<ClusterShared<kPairs>>();
  const int index = product_of(a, block_y());
  const QuantizedProduct& product = a.all.products[index];
  const Cut cut = cut_of(product.x);
  const int first_panel = (block_y() - a.first_block[index]) * kWidePanels;
  const int first_token = block_x() * kClusterTokens;
  if (thread_index() == 0) {
    const int copiers = cluster_width() == 1 ? 2 : 3;
    for (int i = 0; i < kWideStages; ++i) {
      init_barrier(shared.full[i], 1);
      init_barrier(shared.free[i], copiers * kGemmWarps);
    }
    show_barriers();
  }
  sync_cluster();
  if (thread_index() >= kGemmThreads) {
    keep_registers<kCopyRegisters>();
    copy_stages<kPairs>(shared, cut.groups, {product, cut, first_panel, first_token});
  } else {
    take_registers<kMultiplyRegisters>();
    WideSums<kPairs, kClusterTokens> sums;
    multiply_stages<kPairs>(shared, cut.groups, sums);
    sums.put(product, first_token, a.all.tokens, first_panel);
  }
  sync_warp();  // lanes have stored different numbers of rows
  // Until here, others may reach this block's barriers.
  sync_cluster();
}

template <int kPairs>
WKV_KERNEL(kClusterThreads, 1)
gemm_int8_clusters_kernel(WKV_ARGUMENTS GemmLaunch a) {
  begin_next_kernel();
  await_previous_kernel();
  if constexpr (kHasWideProducts) gemm_int8_clusters<kPairs>(a);
}

}  // namespace wkv::cuda
