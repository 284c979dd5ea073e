#include "backend/cuda/layers.h"

#include <algorithm>

#include "kernels/gemm_int4/cuda.h"
#include "kernels/layer_norm/cuda.h"
#include "kernels/quantize/cuda.h"

namespace wkv::cuda {

LayerBuffers::LayerBuffers(const WkvCudaShape& shape)
    : x(floats(shape.max_tokens, shape.channels)),
      moments(static_cast<std::size_t>(shape.max_tokens), kMakingRoom),
      gate(floats(shape.max_tokens, shape.channels)),
      hidden(floats(shape.max_tokens, shape.feed_forward)),
      wide(shape.max_tokens, std::max(attention_channels(shape), shape.feed_forward)) {
  for (int i = 0; i < kMaxMixes; ++i) mixed.emplace_back(shape.max_tokens, shape.channels);
}

void Call::embed() const {
  cuda::embed({.embedding = weights.embedding(),
               .type = weights.embedding_type(),
               .tokens = token_ids,
               .norm = weights.norm(WKV_CUDA_LN0_WEIGHT),
               .x = b.x.data(),
               .count = tokens,
               .channels = shape.channels},
              stream);
}

ShiftQuantizeArguments Call::shift_of(WkvCudaVector norm, std::ptrdiff_t state_offset, int layer) const {
  return {.x = b.x.data(),
          .segments = segments_of_step,
          .segment_count = segments,
          .segment_of = segment_of,
          .state_offset = state_offset,
          .norm = weights.norm(norm, layer),
          .mixes = {},
          .count = 0,
          .tokens = tokens,
          .channels = shape.channels};
}

void Call::shift(WkvCudaVector norm, std::ptrdiff_t state_offset, std::initializer_list<MixOf> mixes,
                 int layer) const {
  ShiftQuantizeArguments arguments = shift_of(norm, state_offset, layer);
  arguments.share_of_before = share_of_before();
  arguments.moments = b.moments.data();
  for (const MixOf& mix : mixes) {
    const WeightMatrix& matrix = weights.matrix(mix.matrix, layer);
    const auto index = static_cast<std::size_t>(arguments.count);
    arguments.mixes[arguments.count++] = {weights.vector(mix.mix, layer), matrix.input_scales.data(),
                                          b.mixed[index].of(matrix)};
  }
  shift_quantize(arguments, stream);
}

void Call::shift(WkvCudaVector norm, std::ptrdiff_t state_offset, const DeviceArray<float>& current,
                 const DeviceArray<float>& previous, int layer) const {
  ShiftQuantizeArguments arguments = shift_of(norm, state_offset, layer);
  arguments.current = current.data();
  arguments.previous = previous.data();
  shift_quantize(arguments, stream);
}

Call::MatrixProduct Call::product(WkvCudaMatrixName name, int layer, const Quantized& input,
                                  const DeviceArray<float>& output, Epilogue epilogue,
                                  const float* factor) const {
  const WeightMatrix& matrix = weights.matrix(name, layer);
  return {matrix.bits,
          {matrix.panels.data(), input.of(matrix), output.data(), factor, matrix.rows, epilogue}};
}

void Call::multiply(std::initializer_list<MatrixProduct> products, int count) const {
  QuantizedProducts int8{{}, 0, count};
  QuantizedProducts int4{{}, 0, count};
  for (const MatrixProduct& each : products) {
    QuantizedProducts& all = each.bits == WeightBits::k4 ? int4 : int8;
    all.products[all.count++] = each.product;
  }
  if (int8.count > 0) gemm_int8(int8, stream);
  if (int4.count > 0) gemm_int4(int4, stream);
}

GemmProduct Call::lora_product(WkvCudaLoraName name, int layer, const DeviceArray<float>& input,
                               const DeviceArray<float>& output, GemmEpilogue epilogue, const float* bias,
                               const float* towards) const {
  const LoraMatrix& matrix = weights.lora_matrix(name, layer);
  return {.panels = matrix.panels.data(),
          .type = matrix.type,
          .x = input.data(),
          .output = output.data(),
          .bias = bias,
          .towards = towards,
          .rows = matrix.rows,
          .columns = matrix.columns,
          .epilogue = epilogue};
}

void Call::multiply(std::initializer_list<GemmProduct> products) const {
  GemmArguments arguments{{}, 0, tokens};
  for (const GemmProduct& each : products) arguments.products[arguments.count++] = each;
  gemm(arguments, stream);
}

void Call::channel_mixing(int layer) const {
  const MatrixProduct key = product(WKV_CUDA_FFN_KEY, layer, b.mixed[0], b.hidden, Epilogue::kReluSquared);
  const bool gated = form_of(shape, WKV_CUDA_FFN_RECEPTANCE).exists();
  if (gated) {
    shift(WKV_CUDA_LN2_WEIGHT, ffn_x(layer),
          {{WKV_CUDA_FFN_MIX_K, WKV_CUDA_FFN_KEY}, {WKV_CUDA_FFN_MIX_R, WKV_CUDA_FFN_RECEPTANCE}}, layer);
    multiply({key, product(WKV_CUDA_FFN_RECEPTANCE, layer, b.mixed[1], b.gate)});
  } else {
    shift(WKV_CUDA_LN2_WEIGHT, ffn_x(layer), {{WKV_CUDA_FFN_MIX_K, WKV_CUDA_FFN_KEY}}, layer);
    multiply({key});
  }
  const WeightMatrix& value = weights.matrix(WKV_CUDA_FFN_VALUE, layer);
  quantize({b.hidden.data(), value.input_scales.data(), b.wide.of(value), tokens}, stream);
  multiply({gated ? product(WKV_CUDA_FFN_VALUE, layer, b.wide, b.x, Epilogue::kAddGated, b.gate.data())
                  : product(WKV_CUDA_FFN_VALUE, layer, b.wide, b.x, Epilogue::kAdd)});
}

std::unique_ptr<TimeMixing> time_mixing_of(const WkvCudaShape& shape) {
  switch (shape.architecture) {
    case WKV_CUDA_RWKV4:
      return rwkv4_time_mixing(shape);
    case WKV_CUDA_RWKV6:
      return rwkv6_time_mixing(shape);
    case WKV_CUDA_RWKV7:
      return rwkv7_time_mixing(shape);
    default:
      return rwkv5_time_mixing(shape);
  }
}

}  // namespace wkv::cuda
