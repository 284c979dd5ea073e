#include "backend/cuda/wkv5_mixing.h"

#include "kernels/gated_norm/cuda.h"
#include "kernels/wkv5/cuda.h"

namespace wkv::cuda {

Wkv5Mixing::Wkv5Mixing(const WkvCudaShape& shape)
    : r(floats(shape.max_tokens, attention_channels(shape))),
      k(floats(shape.max_tokens, attention_channels(shape))),
      v(floats(shape.max_tokens, attention_channels(shape))),
      g(floats(shape.max_tokens, attention_channels(shape))),
      y_(floats(shape.max_tokens, attention_channels(shape))) {}

void Wkv5Mixing::put(const Call& call, int layer, const float* forget, std::ptrdiff_t forget_stride) const {
  wkv5({.r = r.data(),
        .k = k.data(),
        .v = v.data(),
        .y = y_.data(),
        .forget = forget,
        .forget_stride = forget_stride,
        .u = call.weights.vector(WKV_CUDA_ATT_BONUS, layer),
        .segments = call.segments_of_step,
        .state_offset = call.recurrence(layer),
        .count = call.segments,
        .tokens = call.tokens,
        .heads = call.shape.heads,
        .head_size = call.shape.head_size},
       call.stream);
  const WeightMatrix& output = call.weights.matrix(WKV_CUDA_ATT_OUTPUT, layer);
  gated_norm({.y = y_.data(),
              .g = g.data(),
              .gate = form_of(call.shape, WKV_CUDA_ATT_GATE).exists() ? Gate::kSilu : Gate::kNone,
              .norm = call.weights.norm(WKV_CUDA_LN_X_WEIGHT, layer),
              .epsilon = call.shape.group_norm_epsilon,
              .input_scales = output.input_scales.data(),
              .out = call.b.wide.of(output),
              .tokens = call.tokens,
              .head_size = call.shape.head_size},
             call.stream);
  call.multiply({call.product(WKV_CUDA_ATT_OUTPUT, layer, call.b.wide, call.b.x, Epilogue::kAdd)});
}

}  // namespace wkv::cuda
