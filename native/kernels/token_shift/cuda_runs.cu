// Token shifts of prompts, in two launches. First a block for each token finds the moments of its row. Then a
// warp has one span of kRun neighbouring tokens: the norm of one is what the next one is mixed with, weights
// and mixes stay in registers, and nobody waits for anybody.
//
// Beside cuda.cu, whose blocks have a token each and norm the one before it once more, this takes four
// tenths of the instructions. But a token whose segment begins waits for the segment's state, so where many
// do, cuda.cu is better.

#include "kernels/cuda/launch.cuh"
#include "kernels/layer_norm/cuda.cuh"
#include "kernels/quantize/cuda.cuh"
#include "kernels/token_shift/cuda.cuh"
#include "kernels/token_shift/cuda.h"

namespace wkv::cuda {

namespace {

constexpr int kMomentsThreads = 8 * kWarp;  // an eighth of the row for each warp
constexpr int kThreads = 4 * kWarp;         // of the shift: a warp for each span
constexpr int kWarps = kThreads / kWarp;
constexpr int kRun = 4;
constexpr int kMinTokens = 64;
[[maybe_unused]] constexpr int kBlocks = 3;  // on a processor: with a fourth, registers would be short

WKV_KERNEL(kMomentsThreads) row_moments_kernel(WKV_ARGUMENTS ShiftQuantizeArguments a) {
  begin_next_kernel();
  await_previous_kernel();
  NormSums(&sums)[2] = shared_memory<NormSums[2]>();
  sum_rows(row_of(a, block_x()), nullptr, a.channels, sums);
  if (thread_index() >= kWarp) return;
  const Moments moments = moments_of(sums[0], a.channels);
  if (thread_index() == 0) a.moments[block_x()] = {moments.mean, moments.scale};
}

// The tokens of a run at which a segment begins, a bit for each.
WKV_DEVICE unsigned starts_of_run(const ShiftQuantizeArguments& a, int first, int end) {
  unsigned starts = 0;
  WKV_UNROLL
  for (int i = 0; i < kRun; ++i) {
    const int token = first + i < end ? first + i : first;
    if (a.segments[a.segment_of[token]].first == token) starts |= 1U << i;
  }
  return starts;
}

// A whole number of spans, whose rows begin at sixteen bytes, and groups that are parts of them.
template <int kMixes>
WKV_KERNEL(kThreads, kBlocks)
shift_quantize_runs_kernel(WKV_ARGUMENTS ShiftQuantizeArguments a) {
  begin_next_kernel();
  const int size = a.channels;
  const int span = block_x() * kWarps + thread_index() / kWarp;
  if (span * kSpan >= size) return;
  const int first = block_y() * kRun;
  const int end = first + kRun < a.tokens ? first + kRun : a.tokens;
  const unsigned starts = starts_of_run(a, first, end);
  const Part weight = load_part<true>(a.norm.weight, span, size);
  const Part bias = load_part<true>(a.norm.bias, span, size);
  Part mixes[static_cast<std::size_t>(kMixes)];
  WKV_UNROLL
  for (int index = 0; index < kMixes; ++index) mixes[index] = load_part<true>(a.mixes[index].mix, span, size);
  await_previous_kernel();

  const auto load_row = [&](int token) { return load_part<true>(row_of(a, token), span, size); };
  const auto norm_of = [&](int token, const Part& x) {
    const Floats2 moments = a.moments[token];
    return normal(x, {moments.x, moments.y}, weight, bias);
  };
  Part before = (starts & 1U) == 0 ? norm_of(first - 1, load_row(first - 1)) : Part{};
  Part next = load_row(first);
  WKV_KEEP_LOOP
  for (int token = first; token < end; ++token) {
    const Part now = norm_of(token, next);
    if (token + 1 < end) next = load_row(token + 1);
    if ((starts >> (token - first) & 1U) != 0) {
      const Segment segment = a.segments[a.segment_of[token]];
      const int last = segment.first + segment.tokens - 1;
      before = load_part(segment.state + a.state_offset, span, size);
      store_part(segment.state + a.state_offset, span, size,
                 last == token ? now : norm_of(last, load_row(last)));
    }
    WKV_UNROLL
    for (int index = 0; index < kMixes; ++index) {
      const ShiftQuantizeArguments::Mix& mix = a.mixes[index];
      Part values;
      WKV_UNROLL
      for (int i = 0; i < kPartNumbers; ++i) {
        values.of[i] = mixed(now.of[i], before.of[i], mixes[index].of[i], a.share_of_before);
      }
      if (mix.input_scales != nullptr) values = times(values, load_part<true>(mix.input_scales, span, size));
      quantize_span<true>(mix.out, token, span, values);
    }
    before = now;
  }
}

using Kernel = void (*)(ShiftQuantizeArguments);

Kernel kernel_of(int mixes) {
  switch (mixes) {
    case 1:
      return shift_quantize_runs_kernel<1>;
    case 2:
      return shift_quantize_runs_kernel<2>;
    case 3:
      return shift_quantize_runs_kernel<3>;
    default:
      return shift_quantize_runs_kernel<4>;
  }
}

}  // namespace

bool suits_runs(const ShiftQuantizeArguments& a) {
  if (a.moments == nullptr || a.current != nullptr || a.count == 0) return false;
  if (a.tokens < kMinTokens || !are_sequences(a.tokens, a.segment_count)) return false;
  if (!are_whole_spans(a.channels, {a.x, a.norm.weight, a.norm.bias})) return false;
  for (int index = 0; index < a.count; ++index) {
    const ShiftQuantizeArguments::Mix& mix = a.mixes[index];
    if (!is_part_of_span(mix.out.group) || !are_whole_spans(a.channels, {mix.mix, mix.input_scales})) {
      return false;
    }
  }
  return true;
}

void shift_quantize_runs(const ShiftQuantizeArguments& arguments, cudaStream_t stream) {
  launch(row_moments_kernel,
         {static_cast<unsigned>(arguments.tokens), 1, kMomentsThreads, sizeof(NormSums[2])}, stream,
         arguments);
  launch(kernel_of(arguments.count),
         {static_cast<unsigned>((spans_of(arguments.channels) + kWarps - 1) / kWarps),
          static_cast<unsigned>((arguments.tokens + kRun - 1) / kRun), kThreads, 0},
         stream, arguments);
}

}  // namespace wkv::cuda
