// A block computes a panel, 32 rows, for 8 or 32 tokens; each of its eight warps one slice of the columns.
//
// The panel's layout suits the instruction (mma.m16n8k32) as it is. Sixteen columns of a panel are a unit:
// 512 bytes, [4 quads][32 rows][4]. Lane (row, quad) = (lane / 4, lane % 4) takes the sixteen bytes of the
// rows 4 row to 4 row + 3 at its quad, and they are what it holds of two products of 16 rows each, whose row
// `row` is row 4 row + 0 (+ 2), and whose row `row + 8` is 4 row + 1 (+ 3). Two units make 32 columns; where
// a group has an odd number of them, the last is one with zeros. The activations' tiles suit it, too: four
// bytes for each lane, in a row.
//
// A warp's bytes of a panel are one stream of memory, codes and scales, each read once. kDepth units are on
// their way at a time, and each lane copies what it will use itself, so that no warp waits for another before
// the end.

#include "kernels/gemm_int8/cuda.h"

#include "kernels/activations/cuda.cuh"
#include "kernels/gemm_int8/gemm_int8.h"

namespace wkv::cuda {

namespace {

constexpr int kSlices = 8;
constexpr int kThreads = kSlices * kWarp;
constexpr int kUnitColumns = 16;
constexpr int kUnitBytes = kUnitColumns * kInt8PanelRows;
constexpr int kScalesBytes = kInt8PanelRows * static_cast<int>(sizeof(float));
constexpr int kDepth = 8;

struct Launch {
  GemmInt8Arguments all;
  int first_block[kMostProducts];  // of each product
};

template <int kTiles>
union Shared {
  Words4 ring[kSlices][kDepth][kWarp];
  Floats4 partial[kSlices][static_cast<std::size_t>(kTiles * kTileTokens)][kInt8PanelRows / 4];
};

// A lane's way through the units of a slice, past the scales behind each group.
struct Units {
  const unsigned char* at;
  int left;           // of the slice
  int left_in_group;  // of a whole group, also in the last one
  int in_group;

  WKV_DEVICE void begin_next(Words4* place) {
    if (left > 0) {
      begin_copy(place, at);
      --left;
      at += kUnitBytes;
      if (--left_in_group == 0) {
        at += kScalesBytes;
        left_in_group = in_group;
      }
    }
    commit_copies();
  }
};

WKV_DEVICE void put(const Int8Product& product, std::ptrdiff_t place, float sum) {
  switch (product.epilogue) {
    case Epilogue::kStore:
      product.output[place] = sum;
      return;
    case Epilogue::kReluSquared: {
      const float positive = sum > 0.0F ? sum : 0.0F;
      product.output[place] = positive * positive;
      return;
    }
    case Epilogue::kAdd:
      product.output[place] += sum;
      return;
    case Epilogue::kAddGated:
      product.output[place] = fused(sigmoid(product.gate[place]), sum, product.output[place]);
      return;
  }
}

template <int kTiles>
WKV_KERNEL(kThreads)
gemm_int8_kernel(WKV_ARGUMENTS Launch a) {
  Shared<kTiles>& shared = shared_memory<Shared<kTiles>>();
  int index = 0;
  while (index + 1 < a.all.count && block_x() >= a.first_block[index + 1]) ++index;
  const Int8Product& product = a.all.products[index];
  const int panel = block_x() - a.first_block[index];
  const int first_token = block_y() * kTiles * kTileTokens;
  const int slice = thread_index() / kWarp;
  const int lane = thread_index() % kWarp;
  const int row = lane / 4;
  const int quad = lane % 4;

  const QuantizedTokens& x = product.x;
  const int units = (x.columns + kUnitColumns - 1) / kUnitColumns;
  const int in_group = x.group / kUnitColumns;
  const int groups = (units + in_group - 1) / in_group;
  const int in_slice = (groups + kSlices - 1) / kSlices;
  const int first = slice * in_slice < groups ? slice * in_slice : groups;
  const int end = first + in_slice < groups ? first + in_slice : groups;
  const int end_unit = end * in_group < units ? end * in_group : units;

  const std::ptrdiff_t group_bytes = static_cast<std::ptrdiff_t>(in_group) * kUnitBytes + kScalesBytes;
  const std::ptrdiff_t panel_bytes =
      static_cast<std::ptrdiff_t>(units) * kUnitBytes + static_cast<std::ptrdiff_t>(groups) * kScalesBytes;
  const unsigned char* group_at = product.panels + panel * panel_bytes + first * group_bytes;
  const std::ptrdiff_t tile_bytes = static_cast<std::ptrdiff_t>(units) * kUnitColumns * kTileTokens;
  const std::int8_t* codes = x.codes + first_token / kTileTokens * tile_bytes +
                             static_cast<std::ptrdiff_t>(first) * in_group * kUnitColumns * kTileTokens +
                             lane * 4;

  Words4(&ring)[kDepth][kWarp] = shared.ring[slice];
  Units next{group_at + quad * kInt8PanelRows * 4 + row * 16, end_unit - first * in_group, in_group,
             in_group};
  for (int i = 0; i < kDepth; ++i) next.begin_next(&ring[i][lane]);
  int slot = 0;

  float total[static_cast<std::size_t>(kTiles)][2][4] = {};  // of two tokens and four rows
  for (int group = first; group < end; ++group) {
    const int count = units - group * in_group < in_group ? units - group * in_group : in_group;
    const Floats4 scales = *reinterpret_cast<const Floats4*>(group_at + count * kUnitBytes + row * 16);
    const std::ptrdiff_t tokens_at = static_cast<std::ptrdiff_t>(group) * x.stride + first_token + quad * 2;
    std::int32_t sums[static_cast<std::size_t>(kTiles)][2][4];
    WKV_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      const Integers2 offsets =
          *reinterpret_cast<const Integers2*>(x.offsets + tokens_at + tile * kTileTokens);
      WKV_UNROLL
      for (int half = 0; half < 2; ++half) {
        sums[tile][half][0] = sums[tile][half][2] = offsets.x;
        sums[tile][half][1] = sums[tile][half][3] = offsets.y;
      }
    }
    for (int unit = 0; unit < count; unit += 2) {
      const bool pair = unit + 1 < count;
      wait_copies<kDepth - 2>();
      const Words4 low = ring[slot][lane];
      const int second = (slot + 1) % kDepth;
      const Words4 high = pair ? ring[second][lane] : Words4{0, 0, 0, 0};
      WKV_UNROLL
      for (int tile = 0; tile < kTiles; ++tile) {
        const std::int8_t* const place = codes + tile * tile_bytes;
        const std::uint32_t low_codes = *reinterpret_cast<const std::uint32_t*>(place);
        const std::uint32_t high_codes =
            pair ? *reinterpret_cast<const std::uint32_t*>(place + kUnitColumns * kTileTokens) : 0;
        multiply_add(sums[tile][0], low.x, low.y, high.x, high.y, low_codes, high_codes);
        multiply_add(sums[tile][1], low.z, low.w, high.z, high.w, low_codes, high_codes);
      }
      next.begin_next(&ring[slot][lane]);
      if (pair) next.begin_next(&ring[second][lane]);
      slot = (slot + (pair ? 2 : 1)) % kDepth;
      codes += (pair ? 2 : 1) * kUnitColumns * kTileTokens;
    }
    group_at += group_bytes;
    WKV_UNROLL
    for (int tile = 0; tile < kTiles; ++tile) {
      const Floats2 x_scales = *reinterpret_cast<const Floats2*>(x.scales + tokens_at + tile * kTileTokens);
      WKV_UNROLL
      for (int token = 0; token < 2; ++token) {
        const float x_scale = token == 0 ? x_scales.x : x_scales.y;
        float(&sum)[4] = total[tile][token];
        sum[0] = fused(static_cast<float>(sums[tile][0][token]) * scales.x, x_scale, sum[0]);
        sum[1] = fused(static_cast<float>(sums[tile][0][2 + token]) * scales.y, x_scale, sum[1]);
        sum[2] = fused(static_cast<float>(sums[tile][1][token]) * scales.z, x_scale, sum[2]);
        sum[3] = fused(static_cast<float>(sums[tile][1][2 + token]) * scales.w, x_scale, sum[3]);
      }
    }
  }

  wait_copies<0>();
  sync_block();  // the ring becomes the place for sums
  WKV_UNROLL
  for (int tile = 0; tile < kTiles; ++tile) {
    WKV_UNROLL
    for (int token = 0; token < 2; ++token) {
      const float(&sum)[4] = total[tile][token];
      shared.partial[slice][tile * kTileTokens + quad * 2 + token][row] = {sum[0], sum[1], sum[2], sum[3]};
    }
  }
  sync_block();
  const int output_row = panel * kInt8PanelRows + lane;
  if (output_row >= product.rows) return;
  for (int i = slice; i < kTiles * kTileTokens && first_token + i < a.all.tokens; i += kSlices) {
    const auto* const sums = reinterpret_cast<const float*>(&shared.partial[0][i][0]) + lane;
    constexpr int kSliceFloats = kTiles * kTileTokens * kInt8PanelRows;
    float sum = sums[0];
    for (int s = 1; s < kSlices; ++s) sum += sums[s * kSliceFloats];
    put(product, static_cast<std::ptrdiff_t>(first_token + i) * product.rows + output_row, sum);
  }
}

template <int kTiles>
void launch_tiles(const Launch& arguments, unsigned blocks, cudaStream_t stream) {
  constexpr int kTokens = kTiles * kTileTokens;
  const auto token_blocks = static_cast<unsigned>((arguments.all.tokens + kTokens - 1) / kTokens);
  static_assert(sizeof(Shared<kTiles>) <= kMostSharedBytes);
  launch(gemm_int8_kernel<kTiles>, {blocks, token_blocks, kThreads, sizeof(Shared<kTiles>)}, stream,
         arguments);
}

}  // namespace

void gemm_int8(const GemmInt8Arguments& arguments, cudaStream_t stream) {
  Launch all{arguments, {}};
  int blocks = 0;
  for (int i = 0; i < arguments.count; ++i) {
    all.first_block[i] = blocks;
    blocks += (arguments.products[i].rows + kInt8PanelRows - 1) / kInt8PanelRows;
  }
  if (arguments.tokens <= kTileTokens) {
    launch_tiles<1>(all, static_cast<unsigned>(blocks), stream);
  } else {
    launch_tiles<kTokenStep / kTileTokens>(all, static_cast<unsigned>(blocks), stream);
  }
}

}  // namespace wkv::cuda
