// A block for each token, whose row is kept in shared memory.

#include "kernels/layer_norm/cuda.cuh"

#include "kernels/cuda/launch.cuh"
#include "kernels/quantize/cuda.cuh"

namespace wkv::cuda {

namespace {

// Numbers that a thread fetches at a time.
constexpr int kAtOnce = 8;

WKV_KERNEL(kNormThreads) embed_kernel(WKV_ARGUMENTS EmbedArguments a) {
  begin_next_kernel();
  await_previous_kernel();
  NormSums& sums = shared_memory<NormSums>();
  float* const row = shared_array<float>() + sizeof sums / sizeof(float);
  const std::ptrdiff_t from = static_cast<std::ptrdiff_t>(a.tokens[block_x()]) * a.channels;
  for (int begin = thread_index(); begin < a.channels; begin += kAtOnce * block_threads()) {
    float elements[kAtOnce];
    WKV_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      const int channel = begin + i * block_threads();
      elements[i] = channel < a.channels ? element(a.embedding, a.type, from + channel) : 0.0F;
    }
    WKV_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      const int channel = begin + i * block_threads();
      if (channel < a.channels) row[channel] = elements[i];
    }
  }
  for_spans_of_warp(a.channels, [&](int span) {
    expect_span(a.norm.weight, span, a.channels);
    expect_span(a.norm.bias, span, a.channels);
  });
  sync_block();
  const Moments of_row = find_moments(row, a.channels, sums);
  float* const x = a.x + static_cast<std::ptrdiff_t>(block_x()) * a.channels;
  for (int i = thread_index(); i < a.channels; i += block_threads()) {
    x[i] = normal(row[i], of_row, a.norm.weight[i], a.norm.bias[i]);
  }
}

WKV_KERNEL(kNormThreads) norm_quantize_kernel(WKV_ARGUMENTS NormQuantizeArguments a) {
  begin_next_kernel();
  await_previous_kernel();
  NormSums& sums = shared_memory<NormSums>();
  float* const row = shared_array<float>() + sizeof sums / sizeof(float);
  const int size = a.out.columns;
  const float* const x = a.x + static_cast<std::ptrdiff_t>(a.rows[block_x()]) * size;
  for_spans_of_warp(size, [&](int span) {
    const Part part = load_part(x, span, size);
    expect_span(a.norm.weight, span, size);
    expect_span(a.norm.bias, span, size);
    expect_span(a.input_scales, span, size);
    store_part(row, span, size, part);
  });
  sync_block();
  const Moments of_row = find_moments(row, size, sums);
  const bool in_spans = is_part_of_span(a.out.group);
  for_spans_of_warp(size, [&](int span) {
    const Part normed = normal(load_part(row, span, size), of_row, load_part(a.norm.weight, span, size),
                               load_part(a.norm.bias, span, size));
    const Part scaled = times(normed, load_scales(a.input_scales, span, size));
    if (in_spans) {
      quantize_span(a.out, block_x(), span, scaled);
    } else {
      store_part(row, span, size, scaled);
    }
  });
  if (in_spans) return;
  sync_block();
  quantize_groups(a.out, block_x(), [&](int column) { return row[column]; });
}

}  // namespace

void embed(const EmbedArguments& arguments, cudaStream_t stream) {
  launch(embed_kernel,
         {static_cast<unsigned>(arguments.count), 1, norm_threads(arguments.channels),
          norm_shared_bytes(arguments.channels)},
         stream, arguments);
}

void norm_quantize(const NormQuantizeArguments& arguments, cudaStream_t stream) {
  const int channels = arguments.out.columns;
  launch(norm_quantize_kernel,
         {static_cast<unsigned>(arguments.count), 1, norm_threads(channels), norm_shared_bytes(channels)},
         stream, arguments);
}

}  // namespace wkv::cuda
