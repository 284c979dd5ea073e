// RWKV-5 ("Eagle", arXiv 2404.05892). Version 5.0 has no gate.

#include "backend/cuda/layers.h"
#include "kernels/gated_norm/cuda.h"
#include "kernels/wkv5/cuda.h"

namespace wkv::cuda {

namespace {

class Rwkv5 final : public TimeMixing {
 public:
  explicit Rwkv5(const WkvCudaShape& shape)
      : r_(floats(shape.most_tokens, attention_channels(shape))),
        k_(floats(shape.most_tokens, attention_channels(shape))),
        v_(floats(shape.most_tokens, attention_channels(shape))),
        g_(floats(shape.most_tokens, attention_channels(shape))),
        y_(floats(shape.most_tokens, attention_channels(shape))) {}

  // x += O (GroupNorm(WKV(r, k, v)) * silu(g))
  void put(const Call& call, int layer) const override {
    const LayerBuffers& b = call.b;
    const bool gated = form_of(call.shape, WKV_CUDA_ATT_GATE).exists();
    const Int8Product r = call.product(WKV_CUDA_ATT_RECEPTANCE, layer, b.mixed[0], r_);
    const Int8Product k = call.product(WKV_CUDA_ATT_KEY, layer, b.mixed[1], k_);
    const Int8Product v = call.product(WKV_CUDA_ATT_VALUE, layer, b.mixed[2], v_);
    const Call::MixOf mix_r{WKV_CUDA_ATT_MIX_R, WKV_CUDA_ATT_RECEPTANCE};
    const Call::MixOf mix_k{WKV_CUDA_ATT_MIX_K, WKV_CUDA_ATT_KEY};
    const Call::MixOf mix_v{WKV_CUDA_ATT_MIX_V, WKV_CUDA_ATT_VALUE};
    if (gated) {
      call.shift(WKV_CUDA_LN1_WEIGHT, call.att_x(layer),
                 {mix_r, mix_k, mix_v, {WKV_CUDA_ATT_MIX_G, WKV_CUDA_ATT_GATE}}, layer);
      call.multiply({r, k, v, call.product(WKV_CUDA_ATT_GATE, layer, b.mixed[3], g_)});
    } else {
      call.shift(WKV_CUDA_LN1_WEIGHT, call.att_x(layer), {mix_r, mix_k, mix_v}, layer);
      call.multiply({r, k, v});
    }
    wkv5({.r = r_.data(),
          .k = k_.data(),
          .v = v_.data(),
          .y = y_.data(),
          .forget = call.weights.vector(WKV_CUDA_ATT_DECAY, layer),
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
                .g = g_.data(),
                .gate = gated ? Gate::kSilu : Gate::kNone,
                .norm = call.weights.norm(WKV_CUDA_LN_X_WEIGHT, layer),
                .epsilon = call.shape.group_norm_epsilon,
                .input_scales = output.input_scales.data(),
                .out = b.wide.of(output),
                .tokens = call.tokens,
                .head_size = call.shape.head_size},
               call.stream);
    call.multiply({call.product(WKV_CUDA_ATT_OUTPUT, layer, b.wide, b.x, Epilogue::kAdd)});
  }

 private:
  DeviceArray<float> r_, k_, v_, g_, y_;
};

}  // namespace

std::unique_ptr<TimeMixing> rwkv5_time_mixing(const WkvCudaShape& shape) {
  return std::make_unique<Rwkv5>(shape);
}

}  // namespace wkv::cuda
