// RWKV-7 ("Goose", arXiv 2503.14456).

#include "backend/cuda/layers.h"
#include "kernels/gated_norm/cuda.h"
#include "kernels/token_shift/cuda.h"
#include "kernels/wkv7/cuda.h"

namespace wkv::cuda {

namespace {

class Rwkv7 final : public TimeMixing {
 public:
  explicit Rwkv7(const WkvCudaShape& shape)
      : low_w_(floats(shape.max_tokens, shape.decay_rank)),
        low_a_(floats(shape.max_tokens, shape.rate_rank)),
        low_v_(floats(shape.max_tokens, shape.value_rank)),
        low_g_(floats(shape.max_tokens, shape.gate_rank)),
        bonus_(floats(shape.max_tokens, shape.heads)) {
    for (auto* each : {&current_, &previous_, &mixed_w_, &mixed_v_, &mixed_a_, &mixed_g_}) {
      *each = floats(shape.max_tokens, shape.channels);
    }
    for (auto* each : {&r_, &k_, &v_, &g_, &y_, &first_v_, &forget_, &a_, &kappa_, &b_}) {
      *each = floats(shape.max_tokens, attention_channels(shape));
    }
  }

  // x += O (g * (GroupNorm(WKV(r, w, k, v, a)) + bonus))
  void put(const Call& call, int layer) const override {
    const DeviceArray<float>& v = layer == 0 ? first_v_ : v_;
    shift(call, layer);
    project(call, v, layer);
    recurrence(call, v, layer);
    call.multiply({call.product(WKV_CUDA_ATT_OUTPUT, layer, call.b.wide, call.b.x, Epilogue::kAdd)});
  }

 private:
  void shift(const Call& call, int layer) const {
    call.shift(WKV_CUDA_LN1_WEIGHT, call.att_x(layer), current_, previous_, layer);
    MixQuantizeArguments mixes{.current = current_.data(),
                               .previous = previous_.data(),
                               .mixes = {},
                               .count = 0,
                               .tokens = call.tokens,
                               .channels = call.shape.channels};
    const auto add = [&](WkvCudaVector mix, float* plain) -> MixQuantizeArguments::Mix& {
      return mixes.mixes[mixes.count++] = {.mix = call.weights.vector(mix, layer),
                                           .of_token = nullptr,
                                           .plain = plain,
                                           .input_scales = nullptr,
                                           .out = {}};
    };
    const auto add_quantized = [&](WkvCudaVector mix, WkvCudaMatrixName name, std::size_t index,
                                   float* plain) {
      const WeightMatrix& matrix = call.weights.matrix(name, layer);
      MixQuantizeArguments::Mix& added = add(mix, plain);
      added.input_scales = matrix.input_scales.data();
      added.out = call.b.mixed[index].of(matrix);
    };
    add_quantized(WKV_CUDA_ATT_MIX_R, WKV_CUDA_ATT_RECEPTANCE, 0, nullptr);
    add_quantized(WKV_CUDA_ATT_MIX_K, WKV_CUDA_ATT_KEY, 1, nullptr);
    add_quantized(WKV_CUDA_ATT_MIX_V, WKV_CUDA_ATT_VALUE, 2, layer == 0 ? nullptr : mixed_v_.data());
    add(WKV_CUDA_ATT_MIX_W, mixed_w_.data());
    add(WKV_CUDA_ATT_MIX_A, mixed_a_.data());
    add(WKV_CUDA_ATT_MIX_G, mixed_g_.data());
    mix_quantize(mixes, call.stream);
  }

  // Everything that the recurrence takes: r, k, v, and forget, a and g through their LoRA matrices.
  void project(const Call& call, const DeviceArray<float>& v, int layer) const {
    const LayerBuffers& b = call.b;
    call.multiply({call.product(WKV_CUDA_ATT_RECEPTANCE, layer, b.mixed[0], r_),
                   call.product(WKV_CUDA_ATT_KEY, layer, b.mixed[1], k_),
                   call.product(WKV_CUDA_ATT_VALUE, layer, b.mixed[2], v)});
    const auto bias = [&](WkvCudaVector name) { return call.weights.vector(name, layer); };
    const GemmProduct down_w =
        call.lora_product(WKV_CUDA_DECAY_DOWN, layer, mixed_w_, low_w_, GemmEpilogue::kTanh);
    const GemmProduct down_a =
        call.lora_product(WKV_CUDA_RATE_DOWN, layer, mixed_a_, low_a_, GemmEpilogue::kStore);
    const GemmProduct down_g =
        call.lora_product(WKV_CUDA_GATE_DOWN, layer, mixed_g_, low_g_, GemmEpilogue::kSigmoid);
    const GemmProduct up_w = call.lora_product(WKV_CUDA_DECAY_UP, layer, low_w_, forget_,
                                               GemmEpilogue::kBiasForgetV7, bias(WKV_CUDA_ATT_DECAY));
    const GemmProduct up_a = call.lora_product(WKV_CUDA_RATE_UP, layer, low_a_, a_,
                                               GemmEpilogue::kBiasSigmoid, bias(WKV_CUDA_ATT_RATE));
    const GemmProduct up_g = call.lora_product(WKV_CUDA_GATE_UP, layer, low_g_, g_, GemmEpilogue::kStore);
    // The first layer's value is everyone's.
    if (layer == 0) {
      call.multiply({down_w, down_a, down_g});
      call.multiply({up_w, up_a, up_g});
      return;
    }
    call.multiply({down_w, down_a, down_g,
                   call.lora_product(WKV_CUDA_VALUE_DOWN, layer, mixed_v_, low_v_, GemmEpilogue::kStore)});
    call.multiply({up_w, up_a, up_g,
                   call.lora_product(WKV_CUDA_VALUE_UP, layer, low_v_, v, GemmEpilogue::kBiasMoveTowards,
                                     bias(WKV_CUDA_ATT_FIRST), first_v_.data())});
  }

  void recurrence(const Call& call, const DeviceArray<float>& v, int layer) const {
    const WkvCudaShape& shape = call.shape;
    wkv7_keys({.r = r_.data(),
               .k = k_.data(),
               .a = a_.data(),
               .k_k = call.weights.vector(WKV_CUDA_ATT_K_K, layer),
               .k_a = call.weights.vector(WKV_CUDA_ATT_K_A, layer),
               .r_k = call.weights.vector(WKV_CUDA_ATT_R_K, layer),
               .kappa = kappa_.data(),
               .b = b_.data(),
               .bonus = bonus_.data(),
               .tokens = call.tokens,
               .heads = shape.heads,
               .head_size = shape.head_size},
              call.stream);
    wkv7({.r = r_.data(),
          .forget = forget_.data(),
          .k = k_.data(),
          .v = v.data(),
          .kappa = kappa_.data(),
          .b = b_.data(),
          .y = y_.data(),
          .segments = call.segments_of_step,
          .state_offset = call.recurrence(layer),
          .count = call.segments,
          .tokens = call.tokens,
          .heads = shape.heads,
          .head_size = shape.head_size},
         call.stream);
    const WeightMatrix& output = call.weights.matrix(WKV_CUDA_ATT_OUTPUT, layer);
    gated_norm({.y = y_.data(),
                .g = g_.data(),
                .gate = Gate::kPlain,
                .v = v.data(),
                .bonus = bonus_.data(),
                .norm = call.weights.norm(WKV_CUDA_LN_X_WEIGHT, layer),
                .epsilon = shape.group_norm_epsilon,
                .input_scales = output.input_scales.data(),
                .out = call.b.wide.of(output),
                .tokens = call.tokens,
                .head_size = shape.head_size},
               call.stream);
  }

  DeviceArray<float> current_, previous_;  // norms of the tokens, and of those before
  DeviceArray<float> mixed_w_, mixed_v_, mixed_a_, mixed_g_;
  DeviceArray<float> low_w_, low_a_, low_v_, low_g_;
  DeviceArray<float> r_, k_, v_, g_, y_;
  DeviceArray<float> first_v_;  // the first layer's value
  DeviceArray<float> forget_, a_, kappa_, b_, bonus_;
};

}  // namespace

std::unique_ptr<TimeMixing> rwkv7_time_mixing(const WkvCudaShape& shape) {
  return std::make_unique<Rwkv7>(shape);
}

}  // namespace wkv::cuda
