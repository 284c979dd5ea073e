// A warp for each span, or each group, of each token.

#include "kernels/quantize/cuda.cuh"

namespace wkv::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

WKV_KERNEL(kThreads) quantize_kernel(WKV_ARGUMENTS QuantizeArguments a) {
  begin_next_kernel();
  await_previous_kernel();
  const int index = block_x() * kWarps + thread_index() / kWarp;
  const int token = block_y();
  const float* const x = a.x + static_cast<std::ptrdiff_t>(token) * a.out.columns;
  if (is_part_of_span(a.out.group)) {
    if (index * kSpan >= a.out.columns) return;
    const Part part = load_part(x, index, a.out.columns);
    quantize_span(a.out, token, index, times(part, load_scales(a.input_scales, index, a.out.columns)));
  } else {
    if (index >= groups_of(a.out)) return;
    quantize_group(a.out, token, index, [&](int column) {
      return a.input_scales == nullptr ? x[column] : x[column] * a.input_scales[column];
    });
  }
}

}  // namespace

void quantize(const QuantizeArguments& arguments, cudaStream_t stream) {
  const int group = arguments.out.group;
  const int of_warp = is_part_of_span(group) ? kSpan : group;
  const int warps = (arguments.out.columns + of_warp - 1) / of_warp;
  const Grid grid{static_cast<unsigned>((warps + kWarps - 1) / kWarps),
                  static_cast<unsigned>(arguments.tokens), kThreads, 0};
  launch(quantize_kernel, grid, stream, arguments);
}

}  // namespace wkv::cuda
