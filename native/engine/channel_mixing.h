#pragma once

// The feed-forward half of a layer ("channel mixing").

#include <string>
#include <vector>

#include "engine/model_weights.h"
#include "engine/step.h"

namespace wkv {

struct FeedForward {
  std::vector<float> mix_k;
  std::vector<float> mix_r;  // only if there is a receptance
  Matrix key, receptance, value;
};

// Its slots, with the names that mixes have in the architecture; `mix_r` is null where there is no
// receptance.
void add_feed_forward(std::vector<Slot>& slots, const ModelInfo& info, const std::string& block,
                      FeedForward& ffn, const NormWeights& norm, const char* mix_k, const char* mix_r);

// x += sigmoid(R xr) * (V relu(K xk)^2), without the gate where there is no receptance; xk and xr are token
// shifts of LN(x).
void mix_channels(Step& step, const FeedForward& ffn, const NormWeights& norm, std::size_t layer,
                  Step::ShareOf share, Activation& mixed_k, Activation& mixed_r, Activation& gate);

}  // namespace wkv
