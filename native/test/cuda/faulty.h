#pragma once

// Small kernels for the tests of the harness itself: some right, some with the mistakes that it has to find.

#include "kernels/cuda/arch.cuh"

namespace wkv::test {

enum class Fault : int {
  kNone,
  kNoBarrier,         // between writing shared memory and reading it
  kDivergentBarrier,  // only some threads come to it
  kDivergentShuffle,  // half a warp comes to it
  kTwoShuffles,       // the lanes of a warp are at different ones
  kNoWait,            // reads what is still on its way
  kReturnsEarly,      // with a copy on its way
  kOtherLane,         // none: reads what another lane copied, after the warp has met
  kOtherLaneEarly,    // the same, before it has met
  kTooMuchShared,     // more than it was launched with
  kBlocksShare,       // blocks write the same number
  kNotBegun,          // multiplies without begin_products()
  kNotShown,          // multiplies what copies brought without fence_proxy_async()
  kBeyondShared,      // multiplies what is beyond shared memory
  kNoInit,            // uses a barrier that was not made
  kBarrierNotShown,   // copies to a barrier without show_barriers()
  kNoClusterBarrier,  // between making barriers and using them
  kOneBlockReturns,   // before the other block has reached its shared memory
  kTooFewBytes,       // are expected
  kTooManyBytes,      // are expected
  kOneTooMany,        // arrives
  kOtherParity,       // waits for the phase before
  kNotFreed,          // copies to what the other block has not yet read
  kNoSync,            // arrives for the warp before its lanes have met
  kNoGridBarrier,     // between reading what another block has, and its writing that anew
};

// output[block][thread] = the input of the next thread of the block, the last one's of the first.
struct RotateArguments {
  const int* input;
  int* output;
  Fault fault;
};
constexpr unsigned kRotateThreads = 64;
void rotate(const RotateArguments& arguments, unsigned blocks);

// output = input, 16 bytes for each of 32 threads, by way of shared memory.
struct CopyArguments {
  const unsigned char* input;
  unsigned char* output;
  Fault fault;
};
void copy(const CopyArguments& arguments);

// The sums of 64 rows of ones and as many tokens of the input's first bytes, by multiply_wide();
// [thread][32].
struct MultiplyArguments {
  const unsigned char* input;  // [128][16]: two units of 64 tokens
  std::int32_t* output;
  Fault fault;
};
constexpr int kMultiplyThreads = 128;
constexpr int kMultiplySums = 32;
void multiply(const MultiplyArguments& arguments);

// A cluster of two blocks of a warp each. output[round][block][thread] = input[round][thread], 16 bytes for
// each thread: in each round, each block copies half of it to both.
struct ShareArguments {
  const unsigned char* input;
  unsigned char* output;
  Fault fault;
};
constexpr int kShareRounds = 3;
void share(const ShareArguments& arguments);

// Blocks of a warp each, which run at the same time: each thread has a number, and in each round gets that of
// the next block, the last one that of the first.
struct PassArguments {
  int* numbers;  // [block][thread]
  std::uint64_t* arrived;
  int blocks;
  Fault fault;
};
constexpr int kPassRounds = 3;
void pass(const PassArguments& arguments);

}  // namespace wkv::test
