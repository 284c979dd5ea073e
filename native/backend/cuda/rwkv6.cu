// RWKV-6 ("Finch", arXiv 2404.05892): RWKV-5 whose token shift and decay depend on the token.

#include <array>

#include "backend/cuda/wkv5_mixing.h"
#include "kernels/token_shift/cuda.h"

namespace wkv::cuda {

namespace {

// In the order of the names of the LoRA matrices.
constexpr std::size_t kMixes = 5;
constexpr std::size_t kW = 0;
constexpr std::size_t kK = 1;
constexpr std::size_t kV = 2;
constexpr std::size_t kR = 3;
constexpr std::size_t kG = 4;
constexpr std::array<WkvCudaVector, kMixes> kMixNames = {
    WKV_CUDA_ATT_MIX_W, WKV_CUDA_ATT_MIX_K, WKV_CUDA_ATT_MIX_V, WKV_CUDA_ATT_MIX_R, WKV_CUDA_ATT_MIX_G};
constexpr std::array<WkvCudaMatrixName, kMixes> kMatrices = {
    WKV_CUDA_MATRICES,  // the decay's is a narrow one
    WKV_CUDA_ATT_KEY, WKV_CUDA_ATT_VALUE, WKV_CUDA_ATT_RECEPTANCE, WKV_CUDA_ATT_GATE};

class Rwkv6 final : public TimeMixing {
 public:
  explicit Rwkv6(const WkvCudaShape& shape)
      : current_(floats(shape.max_tokens, shape.channels)),
        previous_(floats(shape.max_tokens, shape.channels)),
        shifted_(floats(shape.max_tokens, shape.channels)),
        mixed_w_(floats(shape.max_tokens, shape.channels)),
        low_decay_(floats(shape.max_tokens, shape.decay_rank)),
        forget_(floats(shape.max_tokens, attention_channels(shape))),
        mixing_(shape) {
    for (auto& low : low_) low = floats(shape.max_tokens, shape.mix_rank);
    for (auto& of_token : of_token_) of_token = floats(shape.max_tokens, shape.channels);
  }

  // x += O (GroupNorm(WKV(r, w, k, v)) * silu(g))
  void put(const Call& call, int layer) const override {
    const LayerBuffers& b = call.b;
    shift(call, layer);
    call.multiply({call.product(WKV_CUDA_ATT_RECEPTANCE, layer, b.mixed[kR - 1], mixing_.r),
                   call.product(WKV_CUDA_ATT_KEY, layer, b.mixed[kK - 1], mixing_.k),
                   call.product(WKV_CUDA_ATT_VALUE, layer, b.mixed[kV - 1], mixing_.v),
                   call.product(WKV_CUDA_ATT_GATE, layer, b.mixed[kG - 1], mixing_.g)});
    call.multiply({call.lora_product(WKV_CUDA_DECAY_DOWN, layer, mixed_w_, low_decay_, GemmEpilogue::kTanh)});
    call.multiply(
        {call.lora_product(WKV_CUDA_DECAY_UP, layer, low_decay_, forget_, GemmEpilogue::kBiasForgetV6,
                           call.weights.vector(WKV_CUDA_ATT_DECAY, layer))});
    mixing_.put(call, layer, forget_.data(), attention_channels(call.shape));
  }

 private:
  // With s the token before minus this one: x_c = this + s (maa_c + tanh((this + s maa_x) W1_c) W2_c).
  void shift(const Call& call, int layer) const {
    call.shift(WKV_CUDA_LN1_WEIGHT, call.att_x(layer), current_, previous_, layer);
    MixQuantizeArguments first{.current = current_.data(),
                               .previous = previous_.data(),
                               .mixes = {},
                               .count = 1,
                               .tokens = call.tokens,
                               .channels = call.shape.channels};
    MixQuantizeArguments mixes = first;
    first.mixes[0] = {.mix = call.weights.vector(WKV_CUDA_ATT_MIX_X, layer),
                      .of_token = nullptr,
                      .plain = shifted_.data(),
                      .input_scales = nullptr,
                      .out = {}};
    mix_quantize(first, call.stream);

    const auto down = [&](std::size_t mix) {
      return call.lora_product(static_cast<WkvCudaLoraName>(WKV_CUDA_MIX_W_DOWN + mix), layer, shifted_,
                               low_[mix], GemmEpilogue::kTanh);
    };
    const auto up = [&](std::size_t mix) {
      return call.lora_product(static_cast<WkvCudaLoraName>(WKV_CUDA_MIX_W_UP + mix), layer, low_[mix],
                               of_token_[mix], GemmEpilogue::kStore);
    };
    call.multiply({down(kW), down(kK), down(kV), down(kR), down(kG)});
    call.multiply({up(kW), up(kK), up(kV), up(kR), up(kG)});

    mixes.count = kMixes;
    for (std::size_t mix = 0; mix < kMixes; ++mix) {
      mixes.mixes[mix] = {.mix = call.weights.vector(kMixNames[mix], layer),
                          .of_token = of_token_[mix].data(),
                          .plain = mix == kW ? mixed_w_.data() : nullptr,
                          .input_scales = nullptr,
                          .out = {}};
      if (mix == kW) continue;
      const WeightMatrix& matrix = call.weights.matrix(kMatrices[mix], layer);
      mixes.mixes[mix].input_scales = matrix.input_scales.data();
      mixes.mixes[mix].out = call.b.mixed[mix - 1].of(matrix);
    }
    mix_quantize(mixes, call.stream);
  }

  DeviceArray<float> current_, previous_;  // norms of the tokens, and of those before
  DeviceArray<float> shifted_;
  std::array<DeviceArray<float>, kMixes> low_, of_token_;
  DeviceArray<float> mixed_w_, low_decay_, forget_;
  Wkv5Mixing mixing_;
};

}  // namespace

std::unique_ptr<TimeMixing> rwkv6_time_mixing(const WkvCudaShape& shape) {
  return std::make_unique<Rwkv6>(shape);
}

}  // namespace wkv::cuda
