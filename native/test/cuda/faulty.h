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

}  // namespace wkv::test
