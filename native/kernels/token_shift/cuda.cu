// A block normalizes a token, and the one before it once more rather than wait for it. It finds the moments
// of whole rows, but quantizes only the spans of its part of the columns: a warp takes a span, and all mixes
// of it or, where that leaves most of the GPU idle, a share of them. Prompts have other kernels,
// cuda_runs.cu.
//
// For few tokens it is all latency. So everything that no kernel of the step writes is in registers or on its
// way before the kernel waits for the one before it: weights, segments, and the state, which only this kernel
// writes.
//
// The block of a segment's first token reads the segment's state, and replaces it by the norm of the
// segment's last token, wherever that is.

#include "kernels/token_shift/cuda.cuh"

#include "kernels/cuda/launch.cuh"
#include "kernels/layer_norm/cuda.cuh"
#include "kernels/quantize/cuda.cuh"

namespace wkv::cuda {

namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
// So many blocks keep a large GPU busy.
constexpr int kManyBlocks = 128;

using Mix = ShiftQuantizeArguments::Mix;

struct Arguments {
  ShiftQuantizeArguments shift;
  int shares;  // warps that have a span between them
};

// A block's token. Of another one the norm is needed at most: of the one before or, where a segment starts,
// of the segment's last, which may be the same.
struct Token {
  int index;
  int other;
  bool starts;   // is the first of its segment
  float* state;  // of the segment

  WKV_DEVICE bool needs_other() const { return other != index; }
};
WKV_DEVICE Token token_of_block(const ShiftQuantizeArguments& a) {
  const int token = block_x();
  const Segment segment = a.segments[a.segment_of[token]];
  const bool starts = token == segment.first;
  const int last = segment.first + segment.tokens - 1;
  return {token, starts ? last : token - 1, starts, segment.state + a.state_offset};
}

WKV_DEVICE void sum_rows_of(const ShiftQuantizeArguments& a, const Token& token, NormSums (&sums)[2]) {
  sum_rows(row_of(a, token.index), token.needs_other() ? row_of(a, token.other) : nullptr, a.channels, sums);
}

struct MixPart {
  Part mix;
  Part scales;
};
// Nothing where there is no such mix.
WKV_DEVICE MixPart load_mix(const ShiftQuantizeArguments& a, int index, int span) {
  if (index >= a.count) return {};
  const Mix& mix = a.mixes[index];
  return {load_part(mix.mix, span, a.channels), load_scales(mix.input_scales, span, a.channels)};
}

// What a warp needs first of its span, but for x.
struct Ahead {
  Part weight;
  Part bias;
  Part state;   // where the token starts a segment
  MixPart mix;  // the first of the warp's share
};
WKV_DEVICE Ahead load_ahead(const ShiftQuantizeArguments& a, const Token& token, int share, int span) {
  return {load_part(a.norm.weight, span, a.channels), load_part(a.norm.bias, span, a.channels),
          token.starts ? load_part(token.state, span, a.channels) : Part{}, load_mix(a, share, span)};
}

// All groups are parts of spans; each warp has one span.
WKV_KERNEL(kThreads, 1) shift_quantize_spans_kernel(WKV_ARGUMENTS Arguments arguments) {
  begin_next_kernel();
  const ShiftQuantizeArguments& a = arguments.shift;
  const int size = a.channels;
  const int share = thread_index() / kWarp % arguments.shares;
  const int span = (block_y() * block_threads() + thread_index()) / kWarp / arguments.shares;
  const Token token = token_of_block(a);
  const Ahead ahead = load_ahead(a, token, share, span);
  WKV_KEEP_LOOP
  for (int index = share + arguments.shares; index < a.count; index += arguments.shares) {
    expect_span(a.mixes[index].mix, span, size);
    expect_span(a.mixes[index].input_scales, span, size);
  }
  await_previous_kernel();
  NormSums(&sums)[2] = shared_memory<NormSums[2]>();
  // On its way while moments are found.
  const Part x = load_part(row_of(a, token.index), span, size);
  sum_rows_of(a, token, sums);  // has barriers: after them all warps of a span have the state
  if (span * kSpan >= size) return;

  const auto norm_of = [&](const Part& row, int index) {
    return normal(row, moments_of(sums[index], size), ahead.weight, ahead.bias);
  };
  const Part now = norm_of(x, 0);
  const Part other = token.needs_other() ? norm_of(load_part(row_of(a, token.other), span, size), 1) : now;
  const Part before = token.starts ? ahead.state : other;
  if (share == 0 && token.starts) store_part(token.state, span, size, other);
  if (share == 0 && a.current != nullptr) {
    const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(token.index) * size;
    store_part(a.current + row, span, size, now);
    store_part(a.previous + row, span, size, before);
  }
  MixPart mix = ahead.mix;
  WKV_KEEP_LOOP
  for (int index = share; index < a.count; index += arguments.shares) {
    Part values;
    WKV_UNROLL
    for (int i = 0; i < kPartNumbers; ++i) {
      values.of[i] = mixed(now.of[i], before.of[i], mix.mix.of[i], a.share_of_before) * mix.scales.of[i];
    }
    quantize_span(a.mixes[index].out, token.index, span, values);
    mix = load_mix(a, index + arguments.shares, span);
  }
}

// Some groups go beyond spans; each of any size looks at everything again.
WKV_KERNEL(kThreads, 1) shift_quantize_any_groups_kernel(WKV_ARGUMENTS ShiftQuantizeArguments a) {
  begin_next_kernel();
  const int size = a.channels;
  const Token token = token_of_block(a);
  for_spans_of_warp(size, [&](int span) {
    expect_span(a.norm.weight, span, size);
    expect_span(a.norm.bias, span, size);
    if (token.starts) expect_span(token.state, span, size);
    WKV_KEEP_LOOP
    for (int index = 0; index < a.count; ++index) {
      expect_span(a.mixes[index].mix, span, size);
      expect_span(a.mixes[index].input_scales, span, size);
    }
  });
  await_previous_kernel();
  NormSums(&sums)[2] = shared_memory<NormSums[2]>();
  sum_rows_of(a, token, sums);

  const Moments moments = moments_of(sums[0], size);
  const Moments other_moments = token.needs_other() ? moments_of(sums[1], size) : moments;
  const auto norm_of = [&](int of_token, const Moments& of_row, int column) {
    return normal(row_of(a, of_token)[column], of_row, a.norm.weight[column], a.norm.bias[column]);
  };
  const auto now = [&](int column) { return norm_of(token.index, moments, column); };
  const auto other = [&](int column) { return norm_of(token.other, other_moments, column); };
  const auto before = [&](int column) { return token.starts ? token.state[column] : other(column); };
  if (a.current != nullptr) {
    const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(token.index) * size;
    for (int column = thread_index(); column < size; column += block_threads()) {
      a.current[row + column] = now(column);
      a.previous[row + column] = before(column);
    }
  }
  WKV_KEEP_LOOP
  for (int index = 0; index < a.count; ++index) {
    const Mix& mix = a.mixes[index];
    quantize_groups(mix.out, token.index, [&](int column) {
      const float value = mixed(now(column), before(column), mix.mix[column], a.share_of_before);
      return mix.input_scales == nullptr ? value : value * mix.input_scales[column];
    });
  }
  if (!token.starts) return;
  sync_block();  // the state has been read
  for (int column = thread_index(); column < size; column += block_threads()) {
    token.state[column] = other(column);
  }
}

void launch_spans(const ShiftQuantizeArguments& shift, cudaStream_t stream) {
  const int spans = spans_of(shift.channels);
  const auto parts_of = [&](int shares) { return (spans + kWarps / shares - 1) / (kWarps / shares); };
  int shares = 1;
  while (shares < shift.count && shift.tokens * parts_of(shares) < kManyBlocks) {
    shares = 2 * shares < shift.count ? 2 * shares : shift.count;
  }
  const int parts = parts_of(shares);
  // The same for all parts; a block that has all spans finds moments with all warps there may be.
  const int warps = parts == 1 ? kWarps / shares * shares : (spans + parts - 1) / parts * shares;
  launch(shift_quantize_spans_kernel,
         {static_cast<unsigned>(shift.tokens), static_cast<unsigned>(parts),
          static_cast<unsigned>(warps * kWarp), sizeof(NormSums[2])},
         stream, Arguments{shift, shares});
}

}  // namespace

void shift_quantize(const ShiftQuantizeArguments& arguments, cudaStream_t stream) {
  if (suits_runs(arguments)) {
    shift_quantize_runs(arguments, stream);
    return;
  }
  bool in_spans = true;
  for (int i = 0; i < arguments.count; ++i) in_spans &= is_part_of_span(arguments.mixes[i].out.group);
  if (in_spans) {
    launch_spans(arguments, stream);
  } else {
    launch(shift_quantize_any_groups_kernel,
           {static_cast<unsigned>(arguments.tokens), 1, kThreads, sizeof(NormSums[2])}, stream, arguments);
  }
}

}  // namespace wkv::cuda
