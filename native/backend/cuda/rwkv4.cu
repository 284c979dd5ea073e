// RWKV-4 (arXiv 2305.13048).

#include "backend/cuda/layers.h"
#include "kernels/quantize/cuda.h"
#include "kernels/wkv4/cuda.h"

namespace wkv::cuda {

namespace {

class Rwkv4 final : public TimeMixing {
 public:
  explicit Rwkv4(const WkvCudaShape& shape)
      : r_(floats(shape.max_tokens, shape.heads)),
        k_(floats(shape.max_tokens, shape.heads)),
        v_(floats(shape.max_tokens, shape.heads)),
        y_(floats(shape.max_tokens, shape.heads)) {}

  // x += O (sigmoid(r) * WKV(k, v))
  void put(const Call& call, int layer) const override {
    const LayerBuffers& b = call.b;
    call.shift(WKV_CUDA_LN1_WEIGHT, call.att_x(layer),
               {{WKV_CUDA_ATT_MIX_R, WKV_CUDA_ATT_RECEPTANCE},
                {WKV_CUDA_ATT_MIX_K, WKV_CUDA_ATT_KEY},
                {WKV_CUDA_ATT_MIX_V, WKV_CUDA_ATT_VALUE}},
               layer);
    call.multiply({call.product(WKV_CUDA_ATT_RECEPTANCE, layer, b.mixed[0], r_),
                   call.product(WKV_CUDA_ATT_KEY, layer, b.mixed[1], k_),
                   call.product(WKV_CUDA_ATT_VALUE, layer, b.mixed[2], v_)});
    wkv4({.r = r_.data(),
          .k = k_.data(),
          .v = v_.data(),
          .y = y_.data(),
          .w = call.weights.vector(WKV_CUDA_ATT_DECAY, layer),
          .u = call.weights.vector(WKV_CUDA_ATT_BONUS, layer),
          .segments = call.segments_of_step,
          .state_offset = call.recurrence(layer),
          .count = call.segments,
          .tokens = call.tokens,
          .channels = call.shape.heads},
         call.stream);
    const WeightMatrix& output = call.weights.matrix(WKV_CUDA_ATT_OUTPUT, layer);
    quantize({y_.data(), output.input_scales.data(), b.wide.of(output), call.tokens}, call.stream);
    call.multiply({call.product(WKV_CUDA_ATT_OUTPUT, layer, b.wide, b.x, Epilogue::kAdd)});
  }

 private:
  DeviceArray<float> r_, k_, v_, y_;
};

}  // namespace

std::unique_ptr<TimeMixing> rwkv4_time_mixing(const WkvCudaShape& shape) {
  return std::make_unique<Rwkv4>(shape);
}

}  // namespace wkv::cuda
