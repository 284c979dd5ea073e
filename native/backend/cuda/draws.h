#pragma once

#include <vector>

#include "backend/cuda/memory.h"
#include "kernels/sampling/cuda.h"

namespace wkv::cuda {

// Tokens of one session, as the library has them.
struct StepSegment {
  float* state;
  const std::uint32_t* tokens;
  int count;
  WkvCudaLogits logits;
  WkvCudaDraw* draw;  // or null
  float* kept;        // takes the logits that are drawn from
};

// Throws Failed, which names what makes no sense.
void require_valid(const WkvCudaDraw& draw, int vocabulary);

// The draws of a step: their options on the way to the GPU, their tokens on the way back. Throws Failed.
class Draws {
 public:
  explicit Draws(const WkvCudaShape& shape);

  // Before anything of the step is done: takes what room it needs.
  void begin(const std::vector<StepSegment>& segments, const Stream& stream);
  // Draws `count` tokens, from the first-th on in the order of segments, of [count][vocabulary] logits.
  void draw(float* logits, int first, int count, const Stream& stream) const;
  void copy(const Stream& stream) const;
  // When everything is done.
  void deliver(const std::vector<StepSegment>& segments) const;

 private:
  int vocabulary_;
  int count_ = 0;
  PinnedArray<unsigned char> host_;  // rows, their edits, their forbidden tokens
  DeviceArray<unsigned char> device_;
  PinnedArray<std::int32_t> host_tokens_;
  DeviceArray<std::int32_t> tokens_;
};

}  // namespace wkv::cuda
