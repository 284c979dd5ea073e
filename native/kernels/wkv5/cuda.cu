// Heads of 64: a block has half of a head's value channels, and for each of them four threads, one for each
// run of keys, which keep their part of the state in registers. Tokens come in chunks, the next one while one
// is computed; within a chunk no thread waits for another. For a single token it is a copy of the state. The
// decays of RWKV-5 stay in registers; those of RWKV-6, one for each token, come with the chunk. Where there
// are many tokens for each segment, cuda_sequence.cu is faster.
//
// Other sizes leave the state in memory, and are simple.

#include "kernels/cuda/launch.cuh"
#include "kernels/wkv5/cuda.cuh"

namespace wkv::cuda {

namespace {

constexpr int kFastSize = kWkv5FastSize;
constexpr int kRunKeys = kWkv5RunKeys;
constexpr int kColumns = kWkv5Columns;
constexpr int kBlocksOfHead = kWkv5BlocksOfHead;
constexpr int kThreads = kWkv5Runs * kColumns;
// Tokens of a chunk; with their decays fewer of them have room in as much shared memory.
template <bool kForgetOfToken>
constexpr int kChunk = kForgetOfToken ? 12 : 16;
// On a processor; together they have enough of the state on its way to be as fast as memory. With one more,
// the form with decays of tokens would have too few registers.
template <bool kForgetOfToken>
[[maybe_unused]] constexpr int kBlocks = kForgetOfToken ? 6 : 7;

template <bool kForgetOfToken>
using Chunk = Wkv5Chunk<kForgetOfToken, kChunk<kForgetOfToken>>;

template <bool kForgetOfToken>
struct FastShared {
  Chunk<kForgetOfToken> chunks[2];
  float sums[kChunk<kForgetOfToken>][kWkv5Runs][kColumns];
  float u[kFastSize];
  float bonus[kChunk<kForgetOfToken>];
};
static_assert(sizeof(FastShared<true>) <= sizeof(FastShared<false>) &&
              sizeof(FastShared<false>) <= kMaxSharedBytes);

template <bool kForgetOfToken>
WKV_KERNEL(kThreads, kBlocks<kForgetOfToken>)
wkv5_fast_kernel(WKV_ARGUMENTS Wkv5Arguments a) {
  begin_next_kernel();
  constexpr int kTokens = kChunk<kForgetOfToken>;
  auto& shared = shared_memory<FastShared<kForgetOfToken>>();
  const int run = thread_index() / kColumns;
  const int column = thread_index() % kColumns;
  const int channel = block_x() / kBlocksOfHead * kFastSize;
  const int first_column = block_x() % kBlocksOfHead * kColumns;
  const Segment segment = a.segments[block_y()];
  float* const state = segment.state + a.state_offset +
                       static_cast<std::ptrdiff_t>(channel + run * kRunKeys) * kFastSize + first_column +
                       column;
  float s[kRunKeys];
  WKV_UNROLL
  for (int i = 0; i < kRunKeys; ++i) s[i] = state[i * kFastSize];

  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(a.heads) * kFastSize;
  const std::ptrdiff_t first = segment.first * stride + channel;
  const auto begin_chunk = [&](int token) {
    if (token < segment.tokens) {
      const int tokens = segment.tokens - token < kTokens ? segment.tokens - token : kTokens;
      Chunk<kForgetOfToken>& chunk = shared.chunks[token / kTokens % 2];
      begin_tokens<kThreads>(chunk, a, first + token * stride, first_column, tokens, thread_index());
    }
    commit_copies();
  };
  if (thread_index() < kFastSize) shared.u[thread_index()] = a.u[channel + thread_index()];
  [[maybe_unused]] float forget[kRunKeys];
  if constexpr (!kForgetOfToken) {
    WKV_UNROLL
    for (int i = 0; i < kRunKeys; ++i) forget[i] = -a.forget[channel + run * kRunKeys + i];
  }
  await_previous_kernel();
  begin_chunk(0);

  WKV_KEEP_LOOP
  for (int token = 0; token < segment.tokens; token += kTokens) {
    wait_copies<0>();
    sync_block();  // the chunk is there, and nobody needs the one before any more
    begin_chunk(token + kTokens);
    const Chunk<kForgetOfToken>& chunk = shared.chunks[token / kTokens % 2];
    const int tokens = segment.tokens - token < kTokens ? segment.tokens - token : kTokens;

    put_bonuses<kThreads>(shared.bonus, chunk, shared.u, tokens, thread_index());

    // Four of the run's, negative.
    const auto decays = [&]([[maybe_unused]] int t, int quad) -> Floats4 {
      if constexpr (kForgetOfToken) {
        const Floats4 f = chunk.forget[t][run * (kRunKeys / 4) + quad];
        return {-f.x, -f.y, -f.z, -f.w};
      } else {
        return {forget[4 * quad], forget[4 * quad + 1], forget[4 * quad + 2], forget[4 * quad + 3]};
      }
    };
    WKV_KEEP_LOOP
    for (int t = 0; t < tokens; ++t) {
      const float value = reinterpret_cast<const float*>(chunk.v[t])[column];
      float sum = 0;
      WKV_UNROLL
      for (int quad = 0; quad < kRunKeys / 4; ++quad) {
        const Floats4 r = chunk.r[t][run * (kRunKeys / 4) + quad];
        const Floats4 k = chunk.k[t][run * (kRunKeys / 4) + quad];
        const auto take = [&](int i, float receptance, float key, float decay) {
          sum = fused(receptance, s[i], sum);
          s[i] = fused(key, value, fused(decay, s[i], s[i]));
        };
        const Floats4 f = decays(t, quad);
        take(4 * quad, r.x, k.x, f.x);
        take(4 * quad + 1, r.y, k.y, f.y);
        take(4 * quad + 2, r.z, k.z, f.z);
        take(4 * quad + 3, r.w, k.w, f.w);
      }
      shared.sums[t][run][column] = sum;
    }
    sync_block();
    for (int t = run; t < tokens; t += kWkv5Runs) {
      a.y[first + (token + t) * stride + first_column + column] =
          y_of(shared.sums[t], chunk.v[t], shared.bonus[t], column);
    }
  }
  WKV_UNROLL
  for (int i = 0; i < kRunKeys; ++i) state[i * kFastSize] = s[i];
}

constexpr int kMaxThreads = 256;

// What a token needs of its head, in shared memory.
struct Head {
  float r[kMaxHeadSize];
  float k[kMaxHeadSize];
  float forget[kMaxHeadSize];
  float u[kMaxHeadSize];
};
static_assert(sizeof(Head) <= kMaxSharedBytes);

// A block for each head, whose threads take its value channels in turn.
WKV_KERNEL(kMaxThreads) wkv5_kernel(WKV_ARGUMENTS Wkv5Arguments a) {
  begin_next_kernel();
  await_previous_kernel();
  Head& head = shared_memory<Head>();
  const int size = a.head_size;
  const int run_keys = (size + kWkv5Runs - 1) / kWkv5Runs;
  const int channel = block_x() * size;
  const Segment segment = a.segments[block_y()];
  float* const state = segment.state + a.state_offset + static_cast<std::ptrdiff_t>(channel) * size;
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(a.heads) * size;
  for (int i = thread_index(); i < size; i += block_threads()) head.u[i] = a.u[channel + i];
  for (int token = 0; token < segment.tokens; ++token) {
    const std::ptrdiff_t at = (segment.first + token) * stride + channel;
    for (int i = thread_index(); i < size; i += block_threads()) {
      head.r[i] = a.r[at + i];
      head.k[i] = a.k[at + i];
      if (token == 0 || a.forget_stride != 0) {
        head.forget[i] = a.forget[(segment.first + token) * a.forget_stride + channel + i];
      }
    }
    sync_block();
    float sum = 0;
    for (int i = thread_index() % kWkv5Lanes; i < size; i += kWkv5Lanes) {
      sum = fused(head.r[i] * head.u[i], head.k[i], sum);
    }
    const float bonus = bonus_of_lanes(sum);
    for (int j = thread_index(); j < size; j += block_threads()) {
      const float value = a.v[at + j];
      float sums[kWkv5Runs] = {};
      WKV_UNROLL
      for (int run = 0; run < kWkv5Runs; ++run) {
        const int end = (run + 1) * run_keys < size ? (run + 1) * run_keys : size;
        for (int i = run * run_keys; i < end; ++i) {
          float& s = state[static_cast<std::ptrdiff_t>(i) * size + j];
          sums[run] = fused(head.r[i], s, sums[run]);
          s = fused(head.k[i], value, fused(-head.forget[i], s, s));
        }
      }
      a.y[at + j] = fused(value, bonus, (sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
    sync_block();  // from here on r and k are free for the next token
  }
}

}  // namespace

void wkv5(const Wkv5Arguments& arguments, cudaStream_t stream) {
  const auto segments = static_cast<unsigned>(arguments.count);
  const int size = arguments.head_size;
  if (size == kFastSize && are_sequences(arguments.tokens, arguments.count)) {
    wkv5_sequence(arguments, stream);
    return;
  }
  if (size == kFastSize) {
    const bool of_token = arguments.forget_stride != 0;
    launch(of_token ? wkv5_fast_kernel<true> : wkv5_fast_kernel<false>,
           {static_cast<unsigned>(arguments.heads * kBlocksOfHead), segments, kThreads,
            of_token ? sizeof(FastShared<true>) : sizeof(FastShared<false>)},
           stream, arguments);
    return;
  }
  const int threads = size < kMaxThreads ? (size + kWarp - 1) / kWarp * kWarp : kMaxThreads;
  launch(wkv5_kernel,
         {static_cast<unsigned>(arguments.heads), segments, static_cast<unsigned>(threads), sizeof(Head)},
         stream, arguments);
}

}  // namespace wkv::cuda
