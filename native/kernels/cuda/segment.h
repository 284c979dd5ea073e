#pragma once

namespace wkv::cuda {

// Of the channels in a head.
constexpr int kMaxHeadSize = 1024;

// A run of tokens of one session in a step, in the GPU's memory.
struct Segment {
  float* state;  // of the session, layer by layer
  int first;     // of its tokens among those of the step
  int tokens;
};

// Whether a step's segments are runs of tokens rather than single ones, on average: what a recurrence takes
// is then the time of one token after another, and no longer that of the states' way from memory and back.
inline bool are_sequences(int tokens, int segments) { return tokens >= 4 * segments; }

}  // namespace wkv::cuda
