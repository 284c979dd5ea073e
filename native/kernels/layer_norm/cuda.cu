// A block for each token.

#include "kernels/layer_norm/cuda.cuh"

#include "kernels/quantize/cuda.cuh"

namespace wkv::cuda {

namespace {

WKV_DEVICE float element(const void* elements, EmbeddingType type, std::ptrdiff_t index) {
  if (type == EmbeddingType::kF32) return static_cast<const float*>(elements)[index];
  const std::uint16_t half = static_cast<const std::uint16_t*>(elements)[index];
  return type == EmbeddingType::kF16 ? from_f16(half) : float_of(static_cast<std::uint32_t>(half) << 16U);
}

struct Shared {
  float partial[kNormWarps];
};

WKV_KERNEL(kNormThreads) embed_kernel(WKV_ARGUMENTS EmbedArguments a) {
  const int token = block_x();
  const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(a.tokens[token]) * a.channels;
  normalize([&](int i) { return element(a.embedding, a.type, row + i); }, a.norm, a.channels,
            a.x + static_cast<std::ptrdiff_t>(token) * a.channels, shared_memory<Shared>().partial);
}

WKV_KERNEL(kNormThreads) norm_quantize_kernel(WKV_ARGUMENTS NormQuantizeArguments a) {
  float* const partial = shared_array<float>();
  float* const normed = partial + kNormWarps;
  const float* const x = a.x + static_cast<std::ptrdiff_t>(a.rows[block_x()]) * a.out.columns;
  normalize([&](int i) { return x[i]; }, a.norm, a.out.columns, normed, partial);
  sync_block();
  for (int index = thread_index() / kWarp; index < groups_of(a.out); index += kNormWarps) {
    quantize_group(a.out, block_x(), index, [&](int column) {
      return a.input_scales == nullptr ? normed[column] : normed[column] * a.input_scales[column];
    });
  }
}

}  // namespace

void embed(const EmbedArguments& arguments, cudaStream_t stream) {
  launch(embed_kernel, {static_cast<unsigned>(arguments.count), 1, kNormThreads, sizeof(Shared)}, stream,
         arguments);
}

void norm_quantize(const NormQuantizeArguments& arguments, cudaStream_t stream) {
  const auto floats = static_cast<std::size_t>(kNormWarps + arguments.out.columns);
  launch(norm_quantize_kernel,
         {static_cast<unsigned>(arguments.count), 1, kNormThreads, floats * sizeof(float)}, stream,
         arguments);
}

}  // namespace wkv::cuda
