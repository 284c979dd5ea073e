#pragma once

namespace wkv::cuda {

// A run of tokens of one session in a step, in the GPU's memory.
struct Segment {
  float* state;  // of the session, layer by layer
  int first;     // of its tokens among those of the step
  int tokens;
};

}  // namespace wkv::cuda
