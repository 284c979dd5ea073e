#include "engine/channel_mixing.h"

namespace wkv {

void add_feed_forward(std::vector<Slot>& slots, const ModelInfo& info, const std::string& block,
                      FeedForward& ffn, const NormWeights& norm, const char* mix_k, const char* mix_r) {
  const int d = info.embedding;
  const int f = info.feed_forward;
  slots.push_back({block + mix_k, {d}, &ffn.mix_k});
  if (mix_r != nullptr) slots.push_back({block + mix_r, {d}, &ffn.mix_r});
  slots.push_back({block + "ffn.key.weight", {f, d}, &ffn.key, {.norm = &norm, .mix = &ffn.mix_k}});
  if (mix_r != nullptr) {
    slots.push_back(
        {block + "ffn.receptance.weight", {d, d}, &ffn.receptance, {.norm = &norm, .mix = &ffn.mix_r}});
  }
  slots.push_back({block + "ffn.value.weight", {d, f}, &ffn.value, {.matrix = &ffn.key, .squared = true}});
}

void mix_channels(Step& step, const FeedForward& ffn, const NormWeights& norm, std::size_t layer,
                  Step::ShareOf share, Activation& mixed_k, Activation& mixed_r, Activation& gate) {
  const bool gated = !ffn.mix_r.empty();
  StepBuffers& b = step.b;
  step.normalize(norm);
  const Shift shifts[] = {{&ffn.mix_k, &mixed_k}, {&ffn.mix_r, &mixed_r}};
  step.shift(Step::kFfnX, layer, share, std::span(shifts).first(gated ? 2 : 1));
  step.remember(Step::kFfnX, layer);
  const Product inputs[] = {{&ffn.key, &mixed_k, &b.hidden}, {&ffn.receptance, &mixed_r, &gate}};
  step.multiply(std::span(inputs).first(gated ? 2 : 1),
                [&](std::size_t product, std::size_t token, int row, int rows) {
                  if (product == 0) step.kernels.relu_squared(b.hidden.row(token) + row, rows);
                });
  if (!gated) {
    step.add_product(ffn.value, b.hidden);
    return;
  }
  const Product value[] = {{&ffn.value, &b.hidden, &b.update}};
  step.multiply(value, [&](std::size_t, std::size_t token, int row, int rows) {
    step.kernels.add_gated(b.x.row(token) + row, gate.row(token) + row, b.update.row(token) + row, rows);
  });
}

}  // namespace wkv
