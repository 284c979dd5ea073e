// A block for each token; the norm of the token before is computed once more rather than waited for. The
// block of a segment's first token is the only one that looks at the state, so it also writes it.
//
// For few tokens it is all latency. So both rows and, towards the cache, everything else that is needed are
// on their way before anything waits, and of the mixes the next one while one is quantized. A lane keeps to
// its own columns but for the sums.

#include "kernels/token_shift/cuda.h"

#include "kernels/layer_norm/cuda.cuh"
#include "kernels/quantize/cuda.cuh"

namespace wkv::cuda {

namespace {

static_assert(sizeof(NormSums<2>) + 2 * kMostChannels * sizeof(float) <= kMostSharedBytes &&
              kMostChannels % 4 == 0);

using Mix = ShiftQuantizeArguments::Mix;

WKV_DEVICE float mixed(float one, float other, float share_of_one) {
  return fused(one, share_of_one, other * (1.0F - share_of_one));
}

struct MixPart {
  Part mix;
  Part scales;
};
WKV_DEVICE MixPart load_mix(const Mix& mix, int span, int size) {
  return {load_part(mix.mix, span, size), load_scales(mix.input_scales, span, size)};
}

// All mixes whose groups allow it, of two rows, the first of which has the mixes' shares; `next` is the first
// mix.
WKV_DEVICE void quantize_span_of_mixes(const ShiftQuantizeArguments& a, int span, MixPart next,
                                       const float* one, const float* other) {
  WKV_KEEP_LOOP
  for (int index = 0; index < a.count; ++index) {
    const MixPart mix = next;
    if (index + 1 < a.count) next = load_mix(a.mixes[index + 1], span, a.channels);
    const QuantizedTokens& out = a.mixes[index].out;
    if (!is_part_of_span(out.group)) continue;
    const Part ones = load_part(one, span, a.channels);
    const Part others = load_part(other, span, a.channels);
    Part values;
    WKV_UNROLL
    for (int i = 0; i < kPartNumbers; ++i) {
      values.of[i] = mixed(ones.of[i], others.of[i], mix.mix.of[i]) * mix.scales.of[i];
    }
    quantize_span(out, block_x(), span, values);
  }
}

WKV_KERNEL(kNormThreads, 1) shift_quantize_kernel(WKV_ARGUMENTS ShiftQuantizeArguments a) {
  begin_next_kernel();
  for_spans_of_warp(a.channels, [&](int span) {
    expect_span(a.norm.weight, span, a.channels);
    expect_span(a.norm.bias, span, a.channels);
    WKV_KEEP_LOOP
    for (int index = 0; index < a.count; ++index) {
      expect_span(a.mixes[index].mix, span, a.channels);
      expect_span(a.mixes[index].input_scales, span, a.channels);
    }
  });
  await_previous_kernel();
  NormSums<2>& sums = shared_memory<NormSums<2>>();
  float* const current = shared_array<float>() + sizeof sums / sizeof(float);
  float* const previous = current + row_floats(a.channels);
  const float* const one = a.share_of_before ? previous : current;
  const float* const other = a.share_of_before ? current : previous;
  const int size = a.channels;
  const int token = block_x();
  const int own = a.segment_of[token];
  const auto row_of = [&](int of_token) { return a.x + static_cast<std::ptrdiff_t>(of_token) * size; };

  for_spans_of_warp(size, [&](int span) {
    const Part now = load_part(row_of(token), span, size);
    const Segment segment = a.segments[own];
    const float* const row = token == segment.first ? segment.state + a.state_offset : row_of(token - 1);
    const Part before = load_part(row, span, size);
    store_part(current, span, size, now);
    store_part(previous, span, size, before);
  });
  sync_block();
  Moments of_rows[2];
  find_moments({current, previous}, size, sums, of_rows);
  const Segment segment = a.segments[own];
  const bool first = token == segment.first;

  for_spans_of_warp(size, [&](int span) {
    MixPart mix = {};
    if (a.count > 0) mix = load_mix(a.mixes[0], span, size);
    const Part weight = load_part(a.norm.weight, span, size);
    const Part bias = load_part(a.norm.bias, span, size);
    const Part now = normal(load_part(current, span, size), of_rows[0], weight, bias);
    Part before = load_part(previous, span, size);
    if (!first) before = normal(before, of_rows[1], weight, bias);
    store_part(current, span, size, now);
    store_part(previous, span, size, before);
    if (a.current != nullptr) {
      const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(token) * size;
      store_part(a.current + row, span, size, now);
      store_part(a.previous + row, span, size, before);
    }
    quantize_span_of_mixes(a, span, mix, one, other);
  });

  bool all_in_spans = true;
  for (int index = 0; index < a.count; ++index) all_in_spans &= is_part_of_span(a.mixes[index].out.group);
  if (!all_in_spans) {
    sync_block();
    for (int index = 0; index < a.count; ++index) {
      const Mix& mix = a.mixes[index];
      if (is_part_of_span(mix.out.group)) continue;
      quantize_groups(mix.out, token, [&](int column) {
        const float value = mixed(one[column], other[column], mix.mix[column]);
        return mix.input_scales == nullptr ? value : value * mix.input_scales[column];
      });
    }
  }

  if (!first) return;
  float* const state = segment.state + a.state_offset;
  if (segment.tokens > 1) {
    sync_block();  // the rows become those of the segment's last token
    for_spans_of_warp(size, [&](int span) {
      store_part(current, span, size, load_part(row_of(segment.first + segment.tokens - 1), span, size));
    });
    sync_block();
    find_moments({current, current}, size, sums, of_rows);
  }
  for_spans_of_warp(size, [&](int span) {
    Part last = load_part(current, span, size);
    if (segment.tokens > 1) {
      last =
          normal(last, of_rows[0], load_part(a.norm.weight, span, size), load_part(a.norm.bias, span, size));
    }
    store_part(state, span, size, last);
  });
}

}  // namespace

void shift_quantize(const ShiftQuantizeArguments& arguments, cudaStream_t stream) {
  const int channels = arguments.channels;
  launch(shift_quantize_kernel,
         {static_cast<unsigned>(arguments.tokens), 1, norm_threads(channels), norm_shared_bytes<2>(channels)},
         stream, arguments);
}

}  // namespace wkv::cuda
