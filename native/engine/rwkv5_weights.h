#pragma once

#include <memory>
#include <vector>

#include "engine/channel_mixing.h"
#include "engine/model_weights.h"

namespace wkv::rwkv5 {

struct Attention {
  std::vector<float> mix_k, mix_v, mix_r, mix_g;
  std::vector<float> forget;  // 1 - w = 1 - exp(-exp(time_decay)), [head][channel]
  std::vector<float> bonus;   // time_faaaa, [head][channel]
  Matrix receptance, key, value, gate, output;
  NormWeights ln_x;
  std::vector<float> tuned;  // time_state, if there is one
};

struct Layer {
  NormWeights ln1, ln2;
  Attention attention;
  FeedForward feed_forward;
};

struct Weights {
  OuterWeights outer;
  std::vector<Layer> layers;
};

// The network on the CPU.
std::shared_ptr<const Network> make_network(ModelInfo info, Weights weights, float group_norm_epsilon);

}  // namespace wkv::rwkv5
