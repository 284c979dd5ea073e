// Half a warp has the sixteen partial sums of each output of a tile, some rows times some tokens, on its
// lanes. No warp waits for another.
//
// A row of 4096 columns is a chain of 256 products for each lane, and what takes time is waiting for what
// they are of. So many columns are on their way at once, in registers; the weights begin their way to the
// second-level cache while the kernel before still runs. Where there are few outputs, tiles are small, and so
// many warps wait at the same time; where there are many, tiles are large and reuse what they load.

#include "kernels/gemm/cuda.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/decay/cuda.cuh"
#include "kernels/gemm/gemm.h"

namespace wkv::cuda {

namespace {

constexpr int kMaxThreads = 128;
constexpr int kLanes = kPanelColumns;  // of a tile
constexpr int kHalves = kWarp / kLanes;
constexpr int kGroup = kPanelRows * kPanelColumns;  // elements of a panel for sixteen columns

// Up to so many outputs tiles are small, or of middle size.
constexpr int kFewOutputs = 2'048;
constexpr int kManyOutputs = 32'768;
// Up to here a tile for each token has less to do than one for several, as some of those are not there.
constexpr int kFewTokens = 4;

struct GemmLaunch {
  GemmArguments all;
  int first_block[kMaxGemmProducts];  // of each product
};

WKV_DEVICE int product_of(const GemmLaunch& a, int block) {
  int index = 0;
  while (index + 1 < a.all.count && block >= a.first_block[index + 1]) ++index;
  return index;
}

WKV_DEVICE int groups_of(const GemmProduct& product) {
  return (product.columns + kPanelColumns - 1) / kPanelColumns;
}

// Where in the panels a row begins.
WKV_DEVICE std::ptrdiff_t place_of_row(const GemmProduct& product, int row) {
  return static_cast<std::ptrdiff_t>(row / kPanelRows) * groups_of(product) * kGroup +
         row % kPanelRows * kPanelColumns;
}

// kRows rows, of one panel, times kTokens tokens.
template <int kRows, int kTokens>
struct Tile {
  static constexpr int kCount = kRows * kTokens;
  // Outputs that a lane finishes, and lanes that have the same one.
  static constexpr int kEach = kCount > kLanes ? kCount / kLanes : 1;
  static constexpr int kCopies = kCount < kLanes ? kLanes / kCount : 1;
  // The tokens between those that a lane finishes.
  static constexpr int kStep = kTokens / kEach;

  float sums[static_cast<std::size_t>(kCount)];

  // Such that neighbouring lanes finish neighbouring rows.
  WKV_DEVICE float& at(int row, int token) {
    return sums[(token % kStep * kRows + row) * kEach + token / kStep];
  }
};

// Adds up what the lanes have of kCount sums, in the order of reduce_add. At each step a lane gives away half
// of the sums that it has a part of, until it has kEach of its own: lane * kEach / kCopies and those after
// it.
template <int kCount, int kMask = kLanes / 2>
WKV_DEVICE void add_lanes(float* sums) {
  constexpr int kKept = kCount > 1 ? kCount / 2 : 1;
  constexpr int kOther = kCount - kKept;
  const bool upper = (thread_index() & kMask) != 0;
  WKV_UNROLL
  for (int i = 0; i < kKept; ++i) {
    const float kept = upper ? sums[i + kOther] : sums[i];
    const float given = upper ? sums[i] : sums[i + kOther];
    sums[i] = kept + shuffle_xor(given, kMask);
  }
  if constexpr (kMask > 1) add_lanes<kKept, kMask / 2>(sums);
}

// Begins to bring kRows rows to the second-level cache.
template <int kRows>
WKV_DEVICE void expect_rows(const GemmProduct& product, int row) {
  constexpr int kSector = 32;
  const int bytes = product.type == ElementType::kF32 ? 4 : 2;  // of an element
  const auto* const rows =
      static_cast<const unsigned char*>(product.panels) + place_of_row(product, row) * bytes;
  for (int group = thread_index() % kLanes; group < groups_of(product); group += kLanes) {
    for (int at = 0; at < kRows * kPanelColumns * bytes; at += kSector) {
      expect_read(
          reinterpret_cast<const float*>(rows + static_cast<std::ptrdiff_t>(group) * kGroup * bytes + at));
    }
  }
}

// Adds the products of the lane's columns to a tile, kAtOnce groups of sixteen columns at a time. `row` is
// the tile's first row, `x` where each of its tokens begins.
template <ElementType kType, int kAtOnce, int kRows, int kTokens>
WKV_DEVICE void add_columns(const GemmProduct& product, int row,
                            const float* const (&x)[static_cast<std::size_t>(kTokens)],
                            Tile<kRows, kTokens>& tile) {
  const int lane = thread_index() % kLanes;
  const int groups = groups_of(product);
  const std::ptrdiff_t first = place_of_row(product, row) + lane;
  const auto add = [&](int begin, bool whole) {
    float weights[static_cast<std::size_t>(kAtOnce)][static_cast<std::size_t>(kRows)];
    float activations[static_cast<std::size_t>(kAtOnce)][static_cast<std::size_t>(kTokens)];
    WKV_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      const std::ptrdiff_t group = begin + i;
      const std::ptrdiff_t column = group * kPanelColumns + lane;
      const bool in_panel = whole || group < groups;
      const bool in_row = whole || column < product.columns;
      WKV_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const std::ptrdiff_t place = first + group * kGroup + r * kPanelColumns;
        weights[i][r] = in_panel ? element(product.panels, kType, place) : 0.0F;
      }
      WKV_UNROLL
      for (int t = 0; t < kTokens; ++t) activations[i][t] = in_row ? x[t][column] : 0.0F;
    }
    WKV_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      // Within a panel also where there is no column: adding 0 makes 0 of -0. Beyond it nothing is added.
      if (!whole && begin + i >= groups) continue;
      WKV_UNROLL
      for (int r = 0; r < kRows; ++r) {
        WKV_UNROLL
        for (int t = 0; t < kTokens; ++t) {
          tile.at(r, t) = fused(weights[i][r], activations[i][t], tile.at(r, t));
        }
      }
    }
  };
  int begin = 0;
  WKV_KEEP_LOOP
  for (; (begin + kAtOnce) * kPanelColumns <= product.columns; begin += kAtOnce) add(begin, true);
  if (begin < groups) add(begin, false);
}

WKV_FUNCTION float finished(const GemmProduct& product, int row, std::ptrdiff_t place, float sum) {
  switch (product.epilogue) {
    case GemmEpilogue::kStore:
      return sum;
    case GemmEpilogue::kTanh:
      return tanh(sum);
    case GemmEpilogue::kSigmoid:
      return sigmoid(sum);
    case GemmEpilogue::kBiasSigmoid:
      return sigmoid(sum + product.bias[row]);
    case GemmEpilogue::kBiasForgetV6:
      return forget_v6(sum + product.bias[row]);
    case GemmEpilogue::kBiasForgetV7:
      return forget_v7(sum + product.bias[row]);
    case GemmEpilogue::kBiasMoveTowards: {
      const float from = product.output[place];
      return fused(sigmoid(sum + product.bias[row]), product.towards[place] - from, from);
    }
  }
  return sum;
}

// A block has neighbouring rows of a product, and kTokens tokens.
template <int kRows, int kTokens, int kAtOnce>
WKV_KERNEL(kMaxThreads)
gemm_kernel(WKV_ARGUMENTS GemmLaunch a) {
  begin_next_kernel();
  const int index = product_of(a, block_x());
  const GemmProduct& product = a.all.products[index];
  const int warp = (block_x() - a.first_block[index]) * (block_threads() / kWarp) + thread_index() / kWarp;
  const int row_of_warp = warp * kHalves * kRows;
  if (row_of_warp >= product.rows) return;
  const int row = row_of_warp + thread_index() / kLanes % kHalves * kRows;
  // The second half computes something also where it has no rows.
  const int computed_row = row < product.rows ? row : row_of_warp;
  if (block_y() == 0) expect_rows<kRows>(product, computed_row);

  const int token = block_y() * kTokens;
  const float* x[static_cast<std::size_t>(kTokens)];
  WKV_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    const int computed = token + t < a.all.tokens ? token + t : token;
    x[t] = product.x + static_cast<std::ptrdiff_t>(computed) * product.columns;
  }
  await_previous_kernel();
  using OwnTile = Tile<kRows, kTokens>;
  OwnTile tile = {};
  switch (product.type) {
    case ElementType::kF32:
      add_columns<ElementType::kF32, kAtOnce>(product, computed_row, x, tile);
      break;
    case ElementType::kF16:
      add_columns<ElementType::kF16, kAtOnce>(product, computed_row, x, tile);
      break;
    case ElementType::kBf16:
      add_columns<ElementType::kBf16, kAtOnce>(product, computed_row, x, tile);
      break;
  }
  add_lanes<OwnTile::kCount>(tile.sums);

  const int lane = thread_index() % kLanes;
  const int own = lane / OwnTile::kCopies;
  const int own_row = row + own % kRows;
  if (lane % OwnTile::kCopies != 0 || own_row >= product.rows) return;
  WKV_UNROLL
  for (int i = 0; i < OwnTile::kEach; ++i) {
    const int own_token = token + own / kRows + i * OwnTile::kStep;
    const std::ptrdiff_t place = static_cast<std::ptrdiff_t>(own_token) * product.rows + own_row;
    if (own_token < a.all.tokens) product.output[place] = finished(product, own_row, place, tile.sums[i]);
  }
}

int parts_of(int whole, int part) { return (whole + part - 1) / part; }

template <int kRows, int kTokens, int kAtOnce>
void launch_tiles(const GemmArguments& arguments, int threads, cudaStream_t stream) {
  GemmLaunch all{arguments, {}};
  int blocks = 0;
  for (int i = 0; i < arguments.count; ++i) {
    all.first_block[i] = blocks;
    blocks += parts_of(arguments.products[i].rows, threads / kLanes * kRows);
  }
  launch(gemm_kernel<kRows, kTokens, kAtOnce>,
         {static_cast<unsigned>(blocks), static_cast<unsigned>(parts_of(arguments.tokens, kTokens)),
          static_cast<unsigned>(threads), 0},
         stream, all);
}

}  // namespace

void gemm(const GemmArguments& arguments, cudaStream_t stream) {
  std::ptrdiff_t outputs = 0;
  for (int i = 0; i < arguments.count; ++i) {
    outputs += static_cast<std::ptrdiff_t>(arguments.products[i].rows) * arguments.tokens;
  }
  if (outputs <= kFewOutputs) {
    launch_tiles<1, 1, 32>(arguments, kMaxThreads / 2, stream);
  } else if (arguments.tokens <= kFewTokens) {
    launch_tiles<kPanelRows, 1, 8>(arguments, kMaxThreads, stream);
  } else if (outputs <= kManyOutputs) {
    launch_tiles<2, 4, 8>(arguments, kMaxThreads, stream);
  } else {
    launch_tiles<kPanelRows, 8, 4>(arguments, kMaxThreads, stream);
  }
}

}  // namespace wkv::cuda
