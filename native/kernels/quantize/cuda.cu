// A warp for each span, or each group, of each token.

#include "kernels/cuda/launch.cuh"
#include "kernels/quantize/cuda.cuh"

namespace wkv::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

// Of groups that are parts of spans.
template <bool kWhole>
WKV_KERNEL(kThreads)
quantize_spans_kernel(WKV_ARGUMENTS QuantizeArguments a) {
  begin_next_kernel();
  const int size = a.out.columns;
  const int span = block_x() * kWarps + thread_index() / kWarp;
  if (span * kSpan >= size) return;
  const Part scales = load_scales<kWhole>(a.input_scales, span, size);
  await_previous_kernel();
  const float* const x = a.x + static_cast<std::ptrdiff_t>(block_y()) * size;
  quantize_span<kWhole>(a.out, block_y(), span, times(load_part<kWhole>(x, span, size), scales));
}

WKV_KERNEL(kThreads) quantize_groups_kernel(WKV_ARGUMENTS QuantizeArguments a) {
  begin_next_kernel();
  await_previous_kernel();
  const int index = block_x() * kWarps + thread_index() / kWarp;
  if (index >= groups_of(a.out)) return;
  const float* const x = a.x + static_cast<std::ptrdiff_t>(block_y()) * a.out.columns;
  quantize_group(a.out, block_y(), index, [&](int column) {
    return a.input_scales == nullptr ? x[column] : x[column] * a.input_scales[column];
  });
}

}  // namespace

void quantize(const QuantizeArguments& arguments, cudaStream_t stream) {
  const int columns = arguments.out.columns;
  const int group = arguments.out.group;
  const bool in_spans = is_part_of_span(group);
  const bool whole = are_whole_spans(columns, {arguments.x, arguments.input_scales});
  const int of_warp = in_spans ? kSpan : group;
  const int warps = (columns + of_warp - 1) / of_warp;
  launch(!in_spans ? quantize_groups_kernel
         : whole   ? quantize_spans_kernel<true>
                   : quantize_spans_kernel<false>,
         {static_cast<unsigned>((warps + kWarps - 1) / kWarps), static_cast<unsigned>(arguments.tokens),
          kThreads, 0},
         stream, arguments);
}

}  // namespace wkv::cuda
