// RWKV-5 ("Eagle", arXiv 2404.05892). Version 5.0 has no gate.

#include "backend/cuda/wkv5_mixing.h"

namespace wkv::cuda {

namespace {

class Rwkv5 final : public TimeMixing {
 public:
  explicit Rwkv5(const WkvCudaShape& shape) : mixing_(shape) {}

  // x += O (GroupNorm(WKV(r, k, v)) * silu(g))
  void put(const Call& call, int layer) const override {
    const LayerBuffers& b = call.b;
    const bool gated = form_of(call.shape, WKV_CUDA_ATT_GATE).exists();
    const Call::MatrixProduct r = call.product(WKV_CUDA_ATT_RECEPTANCE, layer, b.mixed[0], mixing_.r);
    const Call::MatrixProduct k = call.product(WKV_CUDA_ATT_KEY, layer, b.mixed[1], mixing_.k);
    const Call::MatrixProduct v = call.product(WKV_CUDA_ATT_VALUE, layer, b.mixed[2], mixing_.v);
    const Call::MixOf mix_r{WKV_CUDA_ATT_MIX_R, WKV_CUDA_ATT_RECEPTANCE};
    const Call::MixOf mix_k{WKV_CUDA_ATT_MIX_K, WKV_CUDA_ATT_KEY};
    const Call::MixOf mix_v{WKV_CUDA_ATT_MIX_V, WKV_CUDA_ATT_VALUE};
    if (gated) {
      call.shift(WKV_CUDA_LN1_WEIGHT, call.att_x(layer),
                 {mix_r, mix_k, mix_v, {WKV_CUDA_ATT_MIX_G, WKV_CUDA_ATT_GATE}}, layer);
      call.multiply({r, k, v, call.product(WKV_CUDA_ATT_GATE, layer, b.mixed[3], mixing_.g)});
    } else {
      call.shift(WKV_CUDA_LN1_WEIGHT, call.att_x(layer), {mix_r, mix_k, mix_v}, layer);
      call.multiply({r, k, v});
    }
    mixing_.put(call, layer, call.weights.vector(WKV_CUDA_ATT_DECAY, layer), 0);
  }

 private:
  Wkv5Mixing mixing_;
};

}  // namespace

std::unique_ptr<TimeMixing> rwkv5_time_mixing(const WkvCudaShape& shape) {
  return std::make_unique<Rwkv5>(shape);
}

}  // namespace wkv::cuda
