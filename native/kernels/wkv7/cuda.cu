// Half a warp takes a row of the state.
//
// Heads of 64: a block has half of a head's rows, and half a warp keeps four of them in registers. Tokens
// come in chunks, the next one while one is computed; within a chunk no warp waits for another. For a single
// token it is a copy of the state.
//
// Other sizes leave the state in memory, and are simple.

#include "kernels/wkv7/cuda.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/wkv7/cuda.cuh"

namespace wkv::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kGroups = kThreads / kLanes;
constexpr int kRows = 4;                  // of half a warp
constexpr int kSharers = kLanes / kRows;  // lanes that have the sum of a row
constexpr int kRowsOfBlock = kGroups * kRows;
constexpr int kBlocksOfHead = kFastSize / kRowsOfBlock;
constexpr int kChunk = 8;
// On a processor; together they have enough of the state on its way to be as fast as memory.
[[maybe_unused]] constexpr int kBlocks = 8;

WKV_DEVICE float next_state(float old, float forget, float taken, float b, float value, float k) {
  return fused(value, k, fused(taken, b, fused(forget, old, old)));
}

// What a block needs of some tokens.
struct Chunk {
  Floats4 r[kChunk][kFastSize / 4];
  Floats4 forget[kChunk][kFastSize / 4];
  Floats4 k[kChunk][kFastSize / 4];
  Floats4 kappa[kChunk][kFastSize / 4];
  Floats4 b[kChunk][kFastSize / 4];
  Floats4 v[kChunk][kRowsOfBlock / 4];
};

struct FastShared {
  Chunk chunks[2];
};
static_assert(sizeof(FastShared) <= kMaxSharedBytes);

// Four lanes that follow each other call the same row their own. With the rows of a lane in the order own,
// own ^ 1, own ^ 2, own ^ 3, four rows are summed by little more than the shuffles of one: what a lane keeps
// of a sum is always of the same row as what it gets.
WKV_DEVICE int own_row() { return lane_of_sum() / kSharers; }

// From the order of the state to that of a lane, and back.
WKV_DEVICE void arrange(float (&s)[kRows][kParts]) {
  const auto swap_if = [](bool condition, float& a, float& b) {
    const float first = condition ? b : a;
    b = condition ? a : b;
    a = first;
  };
  const bool odd = own_row() % 2 == 1;
  const bool high = own_row() / 2 == 1;
  WKV_UNROLL
  for (int part = 0; part < kParts; ++part) {
    swap_if(odd, s[0][part], s[1][part]);
    swap_if(odd, s[2][part], s[3][part]);
    swap_if(high, s[0][part], s[2][part]);
    swap_if(high, s[1][part], s[3][part]);
  }
}

// Two sums at once, as each waits for its shuffles; sums[...][0] is that of the lane's own row in the end.
WKV_DEVICE void sum_own_rows(float (&sums)[2][kRows]) {
  WKV_UNROLL
  for (int i = 0; i < 2; ++i) {
    sums[i][0] += shuffle_xor(sums[i][2], 8);
    sums[i][1] += shuffle_xor(sums[i][3], 8);
  }
  WKV_UNROLL
  for (int i = 0; i < 2; ++i) sums[i][0] += shuffle_xor(sums[i][1], 4);
  WKV_UNROLL
  for (int mask = 2; mask > 0; mask /= 2) {
    WKV_UNROLL
    for (int i = 0; i < 2; ++i) sums[i][0] += shuffle_xor(sums[i][0], mask);
  }
}

// Of up to kChunk of the `tokens` tokens from `at` on: sixteen bytes a thread of each input.
WKV_DEVICE void begin_chunk(Chunk& chunk, const Wkv7Arguments& a, std::ptrdiff_t at, int first_row,
                            std::ptrdiff_t stride, int tokens) {
  constexpr int kPieces = kFastSize / 4;
  static_assert(kThreads == kChunk * kPieces);
  const int token = thread_index() / kPieces;
  const int piece = thread_index() % kPieces;
  if (token >= tokens) return;
  const std::ptrdiff_t from = at + token * stride + piece * 4;
  const auto begin = [](Floats4& place, const float* numbers) {
    begin_copy(reinterpret_cast<Words4*>(&place), reinterpret_cast<const unsigned char*>(numbers));
  };
  begin(chunk.r[token][piece], a.r + from);
  begin(chunk.forget[token][piece], a.forget + from);
  begin(chunk.k[token][piece], a.k + from);
  begin(chunk.kappa[token][piece], a.kappa + from);
  begin(chunk.b[token][piece], a.b + from);
  if (piece < kRowsOfBlock / 4) begin(chunk.v[token][piece], a.v + from + first_row);
}

// A lane's keys of a vector.
WKV_DEVICE void load_keys(float (&keys)[kParts], const Floats4 (&vector)[kFastSize / 4]) {
  const auto* const numbers = reinterpret_cast<const float*>(vector);
  WKV_UNROLL
  for (int part = 0; part < kParts; ++part) keys[part] = numbers[part * kLanes + lane_of_sum()];
}

WKV_KERNEL(kThreads, kBlocks) wkv7_fast_kernel(WKV_ARGUMENTS Wkv7Arguments a) {
  begin_next_kernel();
  FastShared& shared = shared_memory<FastShared>();
  const int channel = block_x() / kBlocksOfHead * kFastSize;
  const int first_row = block_x() % kBlocksOfHead * kRowsOfBlock;
  const int group_row = thread_index() / kLanes * kRows;  // in the block
  const Segment segment = a.segments[block_y()];
  float* const state = segment.state + a.state_offset +
                       static_cast<std::ptrdiff_t>(channel + first_row + group_row) * kFastSize +
                       lane_of_sum();
  float s[kRows][kParts];
  WKV_UNROLL
  for (int row = 0; row < kRows; ++row) {
    WKV_UNROLL
    for (int part = 0; part < kParts; ++part) s[row][part] = state[row * kFastSize + part * kLanes];
  }

  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(a.heads) * kFastSize;
  const std::ptrdiff_t first = segment.first * stride + channel;
  const auto begin_tokens = [&](int token) {
    begin_chunk(shared.chunks[token / kChunk % 2], a, first + token * stride, first_row, stride,
                segment.tokens - token);
    commit_copies();
  };
  // What is to be taken out of the state, and the y of the token before: one does not wait for the other.
  float sums[2][kRows] = {};
  const auto put_y = [&](int token) {
    if (lane_of_sum() % kSharers == 0) {
      a.y[first + token * stride + first_row + group_row + own_row()] = sums[1][0];
    }
  };
  await_previous_kernel();
  begin_tokens(0);
  arrange(s);

  WKV_KEEP_LOOP
  for (int token = 0; token < segment.tokens; token += kChunk) {
    wait_copies<0>();
    sync_block();  // the chunk is there, and nobody needs the one before any more
    begin_tokens(token + kChunk);
    const Chunk& chunk = shared.chunks[token / kChunk % 2];
    const int tokens = segment.tokens - token < kChunk ? segment.tokens - token : kChunk;

    WKV_KEEP_LOOP
    for (int t = 0; t < tokens; ++t) {
      float kappa[kParts];
      load_keys(kappa, chunk.kappa[t]);
      WKV_UNROLL
      for (int row = 0; row < kRows; ++row) {
        sums[0][row] = 0;
        WKV_UNROLL
        for (int part = 0; part < kParts; ++part) {
          sums[0][row] = fused(s[row][part], kappa[part], sums[0][row]);
        }
      }
      sum_own_rows(sums);
      if (token + t > 0) put_y(token + t - 1);

      float r[kParts];
      float forget[kParts];
      float k[kParts];
      float b[kParts];
      load_keys(r, chunk.r[t]);
      load_keys(forget, chunk.forget[t]);
      load_keys(k, chunk.k[t]);
      load_keys(b, chunk.b[t]);
      const float own = -sums[0][0];
      const float taken[kRows] = {own, shuffle_xor(own, 4), shuffle_xor(own, 8), shuffle_xor(own, 12)};
      const auto* const values = reinterpret_cast<const float*>(chunk.v[t]) + group_row;
      WKV_UNROLL
      for (int row = 0; row < kRows; ++row) {
        const float value = values[row ^ own_row()];
        sums[1][row] = 0;
        WKV_UNROLL
        for (int part = 0; part < kParts; ++part) {
          float& each = s[row][part];
          each = next_state(each, 0.0F - forget[part], taken[row], b[part], value, k[part]);
          sums[1][row] = fused(each, r[part], sums[1][row]);
        }
      }
    }
  }
  sum_own_rows(sums);
  if (segment.tokens > 0) put_y(segment.tokens - 1);
  arrange(s);
  WKV_UNROLL
  for (int row = 0; row < kRows; ++row) {
    WKV_UNROLL
    for (int part = 0; part < kParts; ++part) state[row * kFastSize + part * kLanes] = s[row][part];
  }
}

constexpr int kMaxThreads = 256;
constexpr int kRowsOfWarp = kWarp / kLanes;

// What a token needs of its head, in shared memory; 0 beyond its size.
struct Head {
  float r[kMaxHeadSize];
  float forget[kMaxHeadSize];
  float k[kMaxHeadSize];
  float kappa[kMaxHeadSize];
  float b[kMaxHeadSize];
};
static_assert(sizeof(Head) <= kMaxSharedBytes);

// A block for each head, whose warps take its rows in turn.
WKV_KERNEL(kMaxThreads) wkv7_kernel(WKV_ARGUMENTS Wkv7Arguments a) {
  begin_next_kernel();
  await_previous_kernel();
  Head& head = shared_memory<Head>();
  const int size = a.head_size;
  const int channel = block_x() * size;
  const Segment segment = a.segments[block_y()];
  float* const state = segment.state + a.state_offset + static_cast<std::ptrdiff_t>(channel) * size;
  for (int token = 0; token < segment.tokens; ++token) {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(segment.first + token) * a.heads * size + channel;
    for (int i = thread_index(); i < padded(size); i += block_threads()) {
      const auto number = [&](const float* of) { return i < size ? of[at + i] : 0.0F; };
      head.r[i] = number(a.r);
      head.forget[i] = 0.0F - number(a.forget);
      head.k[i] = number(a.k);
      head.kappa[i] = number(a.kappa);
      head.b[i] = number(a.b);
    }
    sync_block();
    const int rows = block_threads() / kLanes;
    // Whole warps take part, also where there is no row for them.
    for (int begin = thread_index() / kWarp * kRowsOfWarp; begin < size; begin += rows) {
      const int j = begin + thread_index() % kWarp / kLanes;
      const bool is_row = j < size;
      float* const row = state + static_cast<std::ptrdiff_t>(j) * size;
      const auto number = [&](int i) { return is_row && i < size ? row[i] : 0.0F; };
      float sum = 0;
      for (int i = lane_of_sum(); i < padded(size); i += kLanes) sum = fused(number(i), head.kappa[i], sum);
      const float taken = -sum_over_lanes(sum);
      const float value = is_row ? a.v[at + j] : 0.0F;
      sum = 0;
      for (int i = lane_of_sum(); i < padded(size); i += kLanes) {
        const float s = next_state(number(i), head.forget[i], taken, head.b[i], value, head.k[i]);
        if (is_row && i < size) row[i] = s;
        sum = fused(s, head.r[i], sum);
      }
      sum = sum_over_lanes(sum);
      if (is_row && lane_of_sum() == 0) a.y[at + j] = sum;
    }
    sync_block();  // from here on the vectors are free for the next token
  }
}

}  // namespace

void wkv7(const Wkv7Arguments& arguments, cudaStream_t stream) {
  const auto segments = static_cast<unsigned>(arguments.count);
  const int size = arguments.head_size;
  if (size == kFastSize) {
    launch(wkv7_fast_kernel,
           {static_cast<unsigned>(arguments.heads * kBlocksOfHead), segments, kThreads, sizeof(FastShared),
            are_sequences(arguments.tokens, arguments.count)},
           stream, arguments);
    return;
  }
  const int all = (size + kRowsOfWarp - 1) / kRowsOfWarp * kWarp;
  const int threads = all < kMaxThreads ? all : kMaxThreads;
  launch(wkv7_kernel,
         {static_cast<unsigned>(arguments.heads), segments, static_cast<unsigned>(threads), sizeof(Head)},
         stream, arguments);
}

}  // namespace wkv::cuda
