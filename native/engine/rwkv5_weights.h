#pragma once

#include <memory>
#include <vector>

#include "engine/layered_model.h"

namespace wkv::rwkv5 {

struct Attention {
  std::vector<float> mix_k, mix_v, mix_r, mix_g;
  std::vector<float> forget;  // 1 - w = 1 - exp(-exp(time_decay)), [head][channel]
  std::vector<float> bonus;   // time_faaaa, [head][channel]
  Matrix receptance, key, value, gate, output;
  NormWeights ln_x;
};

using Layer = LayerOf<Attention>;
using Weights = WeightsOf<Attention>;

// What the library of the CUDA backend calls them.
CudaTensors cuda_tensors(const ModelInfo& info, const Weights& weights);

// The network on the CPU.
std::shared_ptr<const Network> make_network(ModelInfo info, Weights weights, float group_norm_epsilon);

}  // namespace wkv::rwkv5
