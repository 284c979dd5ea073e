// A block for each token; the norm of the token before is computed once more rather than waited for. The
// block of a segment's first token is the only one that looks at the state, so it also writes it.

#include "kernels/token_shift/cuda.h"

#include "kernels/layer_norm/cuda.cuh"
#include "kernels/quantize/cuda.cuh"

namespace wkv::cuda {

namespace {

static_assert((kNormWarps + 2 * kMostChannels) * sizeof(float) <= kMostSharedBytes);

WKV_KERNEL(kNormThreads) shift_quantize_kernel(WKV_ARGUMENTS ShiftQuantizeArguments a) {
  float* const partial = shared_array<float>();
  float* const current = partial + kNormWarps;
  float* const previous = current + a.channels;
  const int token = block_x();
  const Segment segment = a.segments[a.segment_of[token]];
  const bool first = token == segment.first;
  const auto norm = [&](int row, float* output) {
    const float* const x = a.x + static_cast<std::ptrdiff_t>(row) * a.channels;
    normalize([&](int i) { return x[i]; }, a.norm, a.channels, output, partial);
  };
  norm(token, current);
  if (first) {
    const float* const state = segment.state + a.state_offset;
    for (int i = thread_index(); i < a.channels; i += kNormThreads) previous[i] = state[i];
  } else {
    norm(token - 1, previous);
  }
  sync_block();

  for (int index = 0; index < a.count; ++index) {
    const ShiftQuantizeArguments::Mix& mix = a.mixes[index];
    for (int group = thread_index() / kWarp; group < groups_of(mix.out); group += kNormWarps) {
      quantize_group(mix.out, token, group, [&](int column) {
        const float m = mix.mix[column];
        const float mixed = fused(current[column], m, previous[column] * (1.0F - m));
        return mix.input_scales == nullptr ? mixed : mixed * mix.input_scales[column];
      });
    }
  }

  if (!first) return;
  if (segment.tokens > 1) {
    sync_block();
    norm(segment.first + segment.tokens - 1, current);
  }
  float* const state = segment.state + a.state_offset;
  for (int i = thread_index(); i < a.channels; i += kNormThreads) state[i] = current[i];
}

}  // namespace

void shift_quantize(const ShiftQuantizeArguments& arguments, cudaStream_t stream) {
  const auto floats = static_cast<std::size_t>(kNormWarps + 2 * arguments.channels);
  launch(shift_quantize_kernel,
         {static_cast<unsigned>(arguments.tokens), 1, kNormThreads, floats * sizeof(float)}, stream,
         arguments);
}

}  // namespace wkv::cuda
