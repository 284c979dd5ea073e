#pragma once

// What the forms of the recurrence for heads of 64 have in common: a block has half of a head's value
// channels, its columns, and takes tokens by chunks.

#include "kernels/cuda/arch.cuh"
#include "kernels/wkv5/cuda.h"
#include "kernels/wkv5/wkv5.h"

namespace wkv::cuda {

// For segments of many tokens; heads of 64.
void wkv5_sequence(const Wkv5Arguments& arguments, cudaStream_t stream);

constexpr int kWkv5FastSize = 64;
constexpr int kWkv5RunKeys = kWkv5FastSize / kWkv5Runs;
constexpr int kWkv5Columns = kWarp;
constexpr int kWkv5BlocksOfHead = kWkv5FastSize / kWkv5Columns;

template <bool kForgetOfToken, std::size_t kRows>
struct Wkv5ChunkOfForget {};
template <std::size_t kRows>
struct Wkv5ChunkOfForget<true, kRows> {
  Floats4 forget[kRows][kWkv5FastSize / 4];
};
// What a block needs of some tokens, a row each.
template <bool kForgetOfToken, std::size_t kRows>
struct Wkv5Chunk : Wkv5ChunkOfForget<kForgetOfToken, kRows> {
  Floats4 r[kRows][kWkv5FastSize / 4];
  Floats4 k[kRows][kWkv5FastSize / 4];
  Floats4 v[kRows][kWkv5Columns / 4];
};

// By `kThreads` threads, of which this one is `thread`: rows of floats, `stride` apart, of `tokens` tokens;
// sixteen bytes a thread at a time.
template <int kThreads, std::size_t kRows, std::size_t kQuads>
WKV_DEVICE void begin_rows(Floats4 (&place)[kRows][kQuads], const float* rows, std::ptrdiff_t stride,
                           int tokens, int thread) {
  constexpr int kPieces = kQuads;
  for (int i = thread; i < tokens * kPieces; i += kThreads) {
    const float* const from = rows + i / kPieces * stride + i % kPieces * 4;
    begin_copy(reinterpret_cast<Words4*>(&place[i / kPieces][i % kPieces]),
               reinterpret_cast<const unsigned char*>(from));
  }
}

// The same for all that a chunk has; `at` is the head's first channel of the chunk's first token.
template <int kThreads, bool kForgetOfToken, std::size_t kRows>
WKV_DEVICE void begin_tokens(Wkv5Chunk<kForgetOfToken, kRows>& chunk, const Wkv5Arguments& a,
                             std::ptrdiff_t at, int first_column, int tokens, int thread) {
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(a.heads) * kWkv5FastSize;
  begin_rows<kThreads>(chunk.r, a.r + at, stride, tokens, thread);
  begin_rows<kThreads>(chunk.k, a.k + at, stride, tokens, thread);
  begin_rows<kThreads>(chunk.v, a.v + at + first_column, stride, tokens, thread);
  if constexpr (kForgetOfToken) begin_rows<kThreads>(chunk.forget, a.forget + at, stride, tokens, thread);
}

// The bonus r[0] u[0] k[0] + r[1] u[1] k[1] + ... is added as the CPU does: by sixteen lanes, here half a
// warp, each of which has every sixteenth product.
constexpr int kWkv5Lanes = 16;
WKV_DEVICE float bonus_of_lanes(float sum) {
  for (int mask = kWkv5Lanes / 2; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
  return sum;
}

// By `kThreads` threads, whole warps, of which this one is `thread`: the bonus of each token of a chunk.
template <int kThreads, class Chunk, std::size_t kTokens>
WKV_DEVICE void put_bonuses(float (&bonuses)[kTokens], const Chunk& chunk, const float (&u)[kWkv5FastSize],
                            int tokens, int thread) {
  WKV_UNROLL
  for (int begin = 0; begin < static_cast<int>(kTokens); begin += kThreads / kWkv5Lanes) {
    // Whole warps take part, also where there is no token for them.
    const int own = begin + thread / kWkv5Lanes;
    const int of = own < tokens ? own : 0;
    const auto* const r = reinterpret_cast<const float*>(chunk.r[of]);
    const auto* const k = reinterpret_cast<const float*>(chunk.k[of]);
    float sum = 0;
    WKV_UNROLL
    for (int part = 0; part < kWkv5FastSize / kWkv5Lanes; ++part) {
      const int i = part * kWkv5Lanes + thread % kWkv5Lanes;
      sum = fused(r[i] * u[i], k[i], sum);
    }
    const float bonus = bonus_of_lanes(sum);
    if (own < tokens && thread % kWkv5Lanes == 0) bonuses[own] = bonus;
  }
}

// One token's y of a column.
WKV_DEVICE float y_of(const float (&q)[kWkv5Runs][kWkv5Columns], const Floats4 (&v)[kWkv5Columns / 4],
                      float bonus, int column) {
  const float sum = (q[0][column] + q[1][column]) + (q[2][column] + q[3][column]);
  return fused(reinterpret_cast<const float*>(v)[column], bonus, sum);
}

}  // namespace wkv::cuda
