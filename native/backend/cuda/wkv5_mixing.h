#pragma once

#include "backend/cuda/layers.h"

namespace wkv::cuda {

// What RWKV-5 and 6 have in common from their recurrence on.
struct Wkv5Mixing {
  explicit Wkv5Mixing(const WkvCudaShape& shape);

  // x += O (GroupNorm(WKV(r, k, v)) * silu(g)), without a gate in RWKV-5.0. `forget` is 1 - decay, and
  // `forget_stride` as in Wkv5Arguments.
  void put(const Call& call, int layer, const float* forget, std::ptrdiff_t forget_stride) const;

  // [tokens][attention channels]; the matrices' products go there.
  DeviceArray<float> r, k, v, g;

 private:
  DeviceArray<float> y_;
};

}  // namespace wkv::cuda
