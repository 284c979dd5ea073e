// A warp for each span of each token, which it keeps in registers for all mixes, the next one on its way
// while one is quantized. Where that leaves most of the GPU idle, each mix has a warp of its own.
//
// Groups that go beyond spans look at everything again; they are dealt to the warps that have the mix's
// spans.

#include "kernels/cuda/launch.cuh"
#include "kernels/quantize/cuda.cuh"
#include "kernels/token_shift/cuda.cuh"

namespace wkv::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
// A large GPU has about so many at a time.
constexpr int kManyWarps = 1024;

using Mix = MixQuantizeArguments::Mix;

struct Arguments {
  MixQuantizeArguments mix;
  int shares;  // warps that have a span of a token between them
};

struct WeightParts {
  Part mix;
  Part scales;
};
WKV_DEVICE WeightParts load_weights(const Mix& mix, int span, int size) {
  return {load_part(mix.mix, span, size), load_scales(mix.input_scales, span, size)};
}
// 0 where a mix does not depend on the token.
WKV_DEVICE Part load_of_token(const Mix& mix, std::ptrdiff_t row, int span, int size) {
  return mix.of_token == nullptr ? Part{} : load_part(mix.of_token + row, span, size);
}

WKV_KERNEL(kThreads) mix_quantize_kernel(WKV_ARGUMENTS Arguments arguments) {
  begin_next_kernel();
  const MixQuantizeArguments& a = arguments.mix;
  const int size = a.channels;
  const int spans = spans_of(size);
  const int warp = block_x() * kWarps + thread_index() / kWarp;
  const int span = warp / arguments.shares;
  const int first = warp % arguments.shares;
  if (span >= spans) return;
  WKV_KEEP_LOOP
  for (int index = first + arguments.shares; index < a.count; index += arguments.shares) {
    expect_span(a.mixes[index].mix, span, size);
    expect_span(a.mixes[index].input_scales, span, size);
  }
  WeightParts next = load_weights(a.mixes[first], span, size);
  await_previous_kernel();
  const int token = block_y();
  const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(token) * size;
  const float* const current = a.current + row;
  const float* const previous = a.previous + row;
  Part next_of_token = load_of_token(a.mixes[first], row, span, size);
  const Part now = load_part(current, span, size);
  const Part before = load_part(previous, span, size);

  WKV_KEEP_LOOP
  for (int index = first; index < a.count; index += arguments.shares) {
    const Mix& mix = a.mixes[index];
    const WeightParts weights = next;
    const Part of_token = next_of_token;
    if (index + arguments.shares < a.count) {
      const Mix& following = a.mixes[index + arguments.shares];
      next = load_weights(following, span, size);
      next_of_token = load_of_token(following, row, span, size);
    }
    const bool depends = mix.of_token != nullptr;
    Part values;
    WKV_UNROLL
    for (int i = 0; i < kPartNumbers; ++i) {
      const float share = depends ? of_token.of[i] + weights.mix.of[i] : weights.mix.of[i];
      values.of[i] = mixed(before.of[i], now.of[i], share);
    }
    if (mix.plain != nullptr) store_part(mix.plain + row, span, size, values);
    if (mix.out.codes == nullptr) continue;
    if (is_part_of_span(mix.out.group)) {
      quantize_span(mix.out, token, span, times(values, weights.scales));
      continue;
    }
    WKV_KEEP_LOOP
    for (int group = span; group < groups_of(mix.out); group += spans) {
      quantize_group(mix.out, token, group, [&](int column) {
        const float share = depends ? mix.of_token[row + column] + mix.mix[column] : mix.mix[column];
        const float value = mixed(previous[column], current[column], share);
        return mix.input_scales == nullptr ? value : value * mix.input_scales[column];
      });
    }
  }
}

}  // namespace

void mix_quantize(const MixQuantizeArguments& arguments, cudaStream_t stream) {
  const int spans = spans_of(arguments.channels);
  const int shares = arguments.tokens * spans < kManyWarps ? arguments.count : 1;
  const Grid grid{static_cast<unsigned>((spans * shares + kWarps - 1) / kWarps),
                  static_cast<unsigned>(arguments.tokens), kThreads, 0};
  launch(mix_quantize_kernel, grid, stream, Arguments{arguments, shares});
}

}  // namespace wkv::cuda
