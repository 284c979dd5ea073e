#include "engine/wkv5_mixing.h"

#include <algorithm>

namespace wkv {

void mix_wkv5(Step& step, std::size_t layer, const Wkv5Mixing& mixing) {
  const ModelInfo& info = step.info;
  step.for_each_head([&](std::size_t segment, std::size_t head) {
    const std::size_t first = step.first_token[segment];
    const std::size_t count = step.segments[segment].tokens.size();
    const std::ptrdiff_t channel = static_cast<std::ptrdiff_t>(head) * info.head_size;
    step.kernels.wkv5({
        .r = mixing.r.row(first) + channel,
        .k = mixing.k.row(first) + channel,
        .v = mixing.v.row(first) + channel,
        .forget = mixing.forget + static_cast<std::ptrdiff_t>(first) * mixing.forget_stride + channel,
        .u = mixing.bonus.data() + channel,
        .state = step.part(segment, layer, Step::kRecurrence) + channel * info.head_size,
        .y = mixing.y.row(first) + channel,
        .stride = mixing.r.stride,
        .forget_stride = mixing.forget_stride,
        .tokens = static_cast<int>(count),
        .head_size = info.head_size,
    });
    for (std::size_t i = 0; i < count; ++i) {
      float* y = mixing.y.row(first + i) + channel;
      step.kernels.layer_norm(y, mixing.ln_x.weight.data() + channel, mixing.ln_x.bias.data() + channel,
                              mixing.group_norm_epsilon, info.head_size, y);
      if (mixing.g != nullptr) {
        step.kernels.multiply_silu(y, mixing.g->row(first + i) + channel, info.head_size);
      }
    }
  });
}

void initialize_state(const ModelInfo& info, const std::vector<std::vector<float>>& tuned, bool transposed,
                      float* state) {
  std::fill_n(state, info.state.numbers(), 0.0F);
  const std::size_t numbers = info.state.numbers() / info.state.layers;
  const auto size = static_cast<std::size_t>(info.head_size);
  for (std::size_t layer = 0; layer < tuned.size(); ++layer) {
    float* const place = state + (layer + 1) * numbers - tuned[layer].size();
    for (std::size_t i = 0; i < tuned[layer].size(); ++i) {
      const std::size_t row = i / size % size;
      const std::size_t column = i % size;
      place[transposed ? i - row * size - column + column * size + row : i] = tuned[layer][i];
    }
  }
}

}  // namespace wkv
