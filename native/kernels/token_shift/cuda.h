#pragma once

#include "kernels/cuda/segment.h"
#include "kernels/layer_norm/cuda.h"

namespace wkv::cuda {

constexpr int kMaxMixes = 4;

// The way from the residual stream to the inputs of a layer's matrices, in one launch: layer norm, token
// shift with each mix, quantization. The session's state has the norm of its last token; it is read for the
// first token of a segment, and replaced by that of the segment's last.
struct ShiftQuantizeArguments {
  struct Mix {
    const float* mix;           // [channels]: the share of this token, or of the one before it
    const float* input_scales;  // [channels], or null: all 1
    QuantizedTokens out;
  };
  const float* x;  // [tokens][channels]
  const Segment* segments;
  int segment_count;
  const int* segment_of;        // of each token
  std::ptrdiff_t state_offset;  // of the norm in a session's state
  Norm norm;
  Mix mixes[kMaxMixes];
  int count;  // of mixes; perhaps 0
  int tokens;
  int channels;
  bool share_of_before = false;  // since RWKV-6
  // [tokens][channels]: where the norm of each token goes, and that of the token before it; or both null.
  float* current = nullptr;
  float* previous = nullptr;
  Floats2* moments = nullptr;  // [tokens]: room for what prompts need in between; null: it is done without
};
void shift_quantize(const ShiftQuantizeArguments& arguments, cudaStream_t stream);

constexpr int kMaxTokenMixes = 6;

// The token shift of norms that are there already, by mixes that may depend on the token. With m the mix and
// what a token adds to it, the values are previous * m + current * (1 - m).
struct MixQuantizeArguments {
  struct Mix {
    const float* mix;           // [channels]: the share of the token before
    const float* of_token;      // [tokens][channels]: is added to it; or null
    float* plain;               // [tokens][channels]: where the values go as they are; or null. Not of_token
    const float* input_scales;  // [channels], or null: all 1; for `out`
    QuantizedTokens out;        // codes null: not quantized
  };
  const float* current;   // [tokens][channels], as shift_quantize() leaves them
  const float* previous;  // the same
  Mix mixes[kMaxTokenMixes];
  int count;  // of mixes, one or more
  int tokens;
  int channels;
};
void mix_quantize(const MixQuantizeArguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
