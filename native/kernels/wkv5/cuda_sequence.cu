// Heads of 64, many tokens of each segment: what counts is the time from one token to the next, and a block
// has a processor nearly to itself. Two of its warps, the walkers, follow the state through the tokens of a
// chunk, and do nothing else. The other two, the helpers, do at the same time what needs no state: they bring
// the next chunk, compute this one's bonuses, and write the y of the chunk before.
//
// A walker has one run of two columns, two sums that do not wait for each other. With one column a processor
// would have twice the walkers, but each needs all r and k of its run, and shared memory gives them no
// faster.

#include "kernels/cuda/launch.cuh"
#include "kernels/wkv5/cuda.cuh"

namespace wkv::cuda {

namespace {

constexpr int kColumns = kWkv5Columns;
constexpr int kRunKeys = kWkv5RunKeys;
constexpr int kEach = 2;  // columns of a walker; 1 is as right, with kBlocks = 2
constexpr int kWalkers = kWkv5Runs * kColumns / kEach;
constexpr int kHelpers = 2 * kWarp;
constexpr int kThreads = kWalkers + kHelpers;
[[maybe_unused]] constexpr int kBlocks = 3;
// Tokens between two stores of walkers, for which the loads of the tokens after them wait.
constexpr int kGroup = 4;
// With their decays fewer tokens have room, so that two blocks fit a processor with 100 KiB.
template <bool kForgetOfToken>
constexpr int kChunk = kForgetOfToken ? 12 : 16;

// Of a walker's columns.
struct alignas(kEach * sizeof(float)) Columns {
  float of[kEach];
};

template <bool kForgetOfToken>
struct Shared {
  // The one that comes, the one of the walkers, the one whose y is written. Walkers load a token more than
  // they take, the last time from a row that nothing comes to.
  Wkv5Chunk<kForgetOfToken, kChunk<kForgetOfToken> + 1> chunks[3];
  Columns sums[2][kChunk<kForgetOfToken>][kWkv5Runs][kColumns / kEach];
  float bonus[2][kChunk<kForgetOfToken>];
  float u[kWkv5FastSize];
};
static_assert(sizeof(Shared<true>) <= kMaxSharedBytes && sizeof(Shared<false>) <= kMaxSharedBytes);

// What a walker needs of one token.
template <bool kForgetOfToken>
struct Inputs {
  Floats4 r[kRunKeys / 4];
  Floats4 k[kRunKeys / 4];
  Floats4 forget[kForgetOfToken ? kRunKeys / 4 : 1];  // without decays of tokens not used
  Columns v;
};

template <bool kForgetOfToken>
WKV_DEVICE Inputs<kForgetOfToken> load_inputs(
    const Wkv5Chunk<kForgetOfToken, kChunk<kForgetOfToken> + 1>& chunk, int t, int run, int columns) {
  Inputs<kForgetOfToken> in;
  in.v = reinterpret_cast<const Columns*>(chunk.v[t])[columns];
  WKV_UNROLL
  for (int quad = 0; quad < kRunKeys / 4; ++quad) {
    in.r[quad] = chunk.r[t][run * (kRunKeys / 4) + quad];
    in.k[quad] = chunk.k[t][run * (kRunKeys / 4) + quad];
    if constexpr (kForgetOfToken) in.forget[quad] = chunk.forget[t][run * (kRunKeys / 4) + quad];
  }
  return in;
}

// Takes one token into the state of a run; the sums are of r and the state before. `forget` is negative, and
// of all tokens, where they have no decays of their own.
template <bool kForgetOfToken>
WKV_DEVICE Columns take_token(float (&s)[kRunKeys][kEach], const Inputs<kForgetOfToken>& in,
                              const float (&forget)[kRunKeys]) {
  Columns sums{};
  const auto take = [&](int i, float receptance, float key, float decay) {
    WKV_UNROLL
    for (int c = 0; c < kEach; ++c) {
      sums.of[c] = fused(receptance, s[i][c], sums.of[c]);
      s[i][c] = fused(key, in.v.of[c], fused(decay, s[i][c], s[i][c]));
    }
  };
  WKV_UNROLL
  for (int quad = 0; quad < kRunKeys / 4; ++quad) {
    const Floats4 r = in.r[quad];
    const Floats4 k = in.k[quad];
    Floats4 f{forget[4 * quad], forget[4 * quad + 1], forget[4 * quad + 2], forget[4 * quad + 3]};
    if constexpr (kForgetOfToken) {
      const Floats4 of_token = in.forget[quad];
      f = {-of_token.x, -of_token.y, -of_token.z, -of_token.w};
    }
    take(4 * quad, r.x, k.x, f.x);
    take(4 * quad + 1, r.y, k.y, f.y);
    take(4 * quad + 2, r.z, k.z, f.z);
    take(4 * quad + 3, r.w, k.w, f.w);
  }
  return sums;
}

template <bool kForgetOfToken>
WKV_KERNEL(kThreads, kBlocks)
wkv5_sequence_kernel(WKV_ARGUMENTS Wkv5Arguments a) {
  begin_next_kernel();
  constexpr int kTokens = kChunk<kForgetOfToken>;
  auto& shared = shared_memory<Shared<kForgetOfToken>>();
  // A block's warps go to a processor's four schedulers in turn. In every other block helpers are first, so
  // that where a processor has several, walkers are on all schedulers.
  const int thread = (thread_index() + (block_x() + block_y()) % 2 * kHelpers) % kThreads;
  const bool is_walker = thread < kWalkers;
  const int helper = thread - kWalkers;
  const int run = thread / (kColumns / kEach);
  const int columns = thread % (kColumns / kEach);
  const int channel = block_x() / kWkv5BlocksOfHead * kWkv5FastSize;
  const int first_column = block_x() % kWkv5BlocksOfHead * kColumns;
  const Segment segment = a.segments[block_y()];
  float* const state = segment.state + a.state_offset +
                       static_cast<std::ptrdiff_t>(channel + run * kRunKeys) * kWkv5FastSize + first_column +
                       columns * kEach;
  float s[kRunKeys][kEach] = {};
  float forget[kRunKeys] = {};
  if (is_walker) {
    WKV_UNROLL
    for (int i = 0; i < kRunKeys; ++i) {
      WKV_UNROLL
      for (int c = 0; c < kEach; ++c) s[i][c] = state[i * kWkv5FastSize + c];
      if constexpr (!kForgetOfToken) forget[i] = -a.forget[channel + run * kRunKeys + i];
    }
  } else {
    shared.u[helper] = a.u[channel + helper];
  }

  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(a.heads) * kWkv5FastSize;
  const std::ptrdiff_t first = segment.first * stride + channel;
  const auto tokens_from = [&](int token) {
    const int left = segment.tokens - token;
    return left < 0 ? 0 : left < kTokens ? left : kTokens;
  };
  const auto begin_chunk = [&](int token) {
    begin_tokens<kHelpers>(shared.chunks[token / kTokens % 3], a, first + token * stride, first_column,
                           tokens_from(token), helper);
    commit_copies();
  };
  await_previous_kernel();
  if (!is_walker) begin_chunk(0);

  // One round more than there are chunks, for the y of the last.
  WKV_KEEP_LOOP
  for (int token = 0; token < segment.tokens + kTokens; token += kTokens) {
    wait_copies<0>();
    sync_block();  // the chunk is there, walkers and helpers are done with those before
    const auto& chunk = shared.chunks[token / kTokens % 3];
    const int tokens = tokens_from(token);
    if (is_walker) {
      auto& sums = shared.sums[token / kTokens % 2];
      Inputs<kForgetOfToken> next = load_inputs(chunk, 0, run, columns);
      int t = 0;
      WKV_KEEP_LOOP
      for (; t + kGroup <= tokens; t += kGroup) {
        Columns of_group[kGroup];
        WKV_UNROLL
        for (int i = 0; i < kGroup; ++i) {
          const Inputs<kForgetOfToken> now = next;
          next = load_inputs(chunk, t + i + 1, run, columns);
          of_group[i] = take_token(s, now, forget);
        }
        WKV_UNROLL
        for (int i = 0; i < kGroup; ++i) sums[t + i][run][columns] = of_group[i];
      }
      WKV_KEEP_LOOP
      for (; t < tokens; ++t) {
        sums[t][run][columns] = take_token(s, load_inputs(chunk, t, run, columns), forget);
      }
    } else {
      begin_chunk(token + kTokens);
      put_bonuses<kHelpers>(shared.bonus[token / kTokens % 2], chunk, shared.u, tokens, helper);
      if (token == 0) continue;
      const int before = token - kTokens;
      const auto& finished = shared.chunks[before / kTokens % 3];
      const int parity = before / kTokens % 2;
      const int column = helper % kColumns;
      for (int t = helper / kColumns; t < tokens_from(before); t += kHelpers / kColumns) {
        const auto& q = reinterpret_cast<const float(&)[kWkv5Runs][kColumns]>(shared.sums[parity][t]);
        a.y[first + (before + t) * stride + first_column + column] =
            y_of(q, finished.v[t], shared.bonus[parity][t], column);
      }
    }
  }
  if (!is_walker) return;
  WKV_UNROLL
  for (int i = 0; i < kRunKeys; ++i) {
    WKV_UNROLL
    for (int c = 0; c < kEach; ++c) state[i * kWkv5FastSize + c] = s[i][c];
  }
}

}  // namespace

void wkv5_sequence(const Wkv5Arguments& arguments, cudaStream_t stream) {
  const bool of_token = arguments.forget_stride != 0;
  launch(of_token ? wkv5_sequence_kernel<true> : wkv5_sequence_kernel<false>,
         {static_cast<unsigned>(arguments.heads * kWkv5BlocksOfHead), static_cast<unsigned>(arguments.count),
          kThreads, of_token ? sizeof(Shared<true>) : sizeof(Shared<false>), true},
         stream, arguments);
}

}  // namespace wkv::cuda
