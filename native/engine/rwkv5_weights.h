#pragma once

#include <vector>

#include "engine/matrix.h"

namespace wkv::rwkv5 {

struct NormWeights {
  std::vector<float> weight;
  std::vector<float> bias;
};

struct Layer {
  NormWeights ln1;
  NormWeights ln2;
  struct Attention {
    std::vector<float> mix_k, mix_v, mix_r, mix_g;
    std::vector<float> forget;  // 1 - w = 1 - exp(-exp(time_decay)), [head][channel]
    std::vector<float> bonus;   // time_faaaa
    Matrix receptance, key, value, gate, output;
    NormWeights ln_x;
  } attention;
  struct FeedForward {
    std::vector<float> mix_k, mix_r;
    Matrix key, receptance, value;
  } feed_forward;
};

struct Weights {
  RowMatrix embedding;
  NormWeights ln0;
  std::vector<Layer> layers;
  NormWeights ln_out;
  Matrix head;
};

}  // namespace wkv::rwkv5
