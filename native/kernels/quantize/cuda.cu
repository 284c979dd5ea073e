// A warp for each group of each token.

#include "kernels/quantize/cuda.cuh"

namespace wkv::cuda {

namespace {

constexpr int kThreads = 256;

WKV_KERNEL(kThreads) quantize_kernel(WKV_ARGUMENTS QuantizeArguments a) {
  const int index = block_x() * (kThreads / kWarp) + thread_index() / kWarp;
  if (index >= groups_of(a.out)) return;
  const int token = block_y();
  const float* const x = a.x + static_cast<std::ptrdiff_t>(token) * a.out.columns;
  quantize_group(a.out, token, index, [&](int column) {
    return a.input_scales == nullptr ? x[column] : x[column] * a.input_scales[column];
  });
}

}  // namespace

void quantize(const QuantizeArguments& arguments, cudaStream_t stream) {
  const int groups = (arguments.out.columns + arguments.out.group - 1) / arguments.out.group;
  const int warps = kThreads / kWarp;
  const Grid grid{static_cast<unsigned>((groups + warps - 1) / warps),
                  static_cast<unsigned>(arguments.tokens), kThreads, 0};
  launch(quantize_kernel, grid, stream, arguments);
}

}  // namespace wkv::cuda
