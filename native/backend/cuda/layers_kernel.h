#pragma once

#include <cstdint>
#include <optional>

#include "backend/cuda/layers.h"
#include "kernels/rwkv5_layers/cuda.h"

namespace wkv::cuda {

// All layers of a step of one token in one kernel (kernels/rwkv5_layers), with its buffers.
class LayersKernel {
 public:
  // Of a model that is complete. Nothing where it does not suit model and GPU. Throws Failed.
  static std::optional<LayersKernel> of(LayersKind kind, const Call& call, const Stream& stream);

  void put(const Call& call) const;

 private:
  LayersKernel(LayersKind kind, const Call& call, const Stream& stream);

  LayersKind kind_;
  DeviceArray<float> r_, k_, v_, g_;
  DeviceArray<std::uint64_t> arrived_;
  DeviceArray<Rwkv5LayerWeights> layers_;
  Rwkv5LayersArguments arguments_{};
};

}  // namespace wkv::cuda
