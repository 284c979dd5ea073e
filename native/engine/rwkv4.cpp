// RWKV-4 ("Raven", "World"; arXiv 2305.13048): BlinkDL's tensor names and the equations of his reference
// code.

#include <algorithm>
#include <cmath>

#include "engine/architectures.h"
#include "engine/layered_model.h"

namespace wkv {

namespace {

// Parts of a layer's state after att_x and ffn_x.
constexpr std::size_t kAa = 2;
constexpr std::size_t kBb = 3;
constexpr std::size_t kPp = 4;

// What is before everything that was ever read.
constexpr float kNothingYet = -1e30F;

struct Attention {
  std::vector<float> mix_k, mix_v, mix_r;
  std::vector<float> decay;  // -exp(time_decay)
  std::vector<float> bonus;  // time_first
  Matrix receptance, key, value, output;
};

using Layer = LayerOf<Attention>;
using Weights = WeightsOf<Attention>;

struct Buffers final : StepBuffers {
  Buffers(const ModelInfo& info, unsigned lane_count) : StepBuffers(info, lane_count) {
    for (Activation* activation : {&mixed_k, &mixed_v, &mixed_r, &gate}) {
      *activation = Activation(Network::kMaxTokens, info.embedding);
    }
    for (Activation* activation : {&r, &k, &v, &y}) {
      *activation = Activation(Network::kMaxTokens, info.heads);
    }
  }

  Activation mixed_k, mixed_v, mixed_r;
  Activation r, k, v, y;
  Activation gate;
};

void initialize_nothing_yet(const ModelInfo& info, float* state) {
  std::fill_n(state, info.state.numbers(), 0.0F);
  const std::size_t numbers = info.state.numbers() / info.state.layers;
  const std::uint32_t channels = info.state.parts[kPp].count;
  for (std::size_t layer = 1; layer <= info.state.layers; ++layer) {
    std::fill_n(state + layer * numbers - channels, channels, kNothingYet);
  }
}

class Rwkv4 final : public LayeredNetwork<Attention, Buffers> {
 public:
  using LayeredNetwork::LayeredNetwork;

  std::unique_ptr<Workspace> create_workspace(unsigned lanes) const override {
    return std::make_unique<Buffers>(info_, lanes);
  }

  void initialize(float* state) const override { initialize_nothing_yet(info_, state); }

 private:
  void put_layer(Step& step, Buffers& b, const Layer& layer, std::size_t index) const override {
    mix_time(step, b, layer, index);
    mix_channels(step, layer.feed_forward, layer.ln2, index, Step::ShareOf::kThis, b.mixed_k, b.mixed_r,
                 b.gate);
  }

  // Channels that a thread takes at a time.
  static constexpr int kRun = 256;

  // x += O (sigmoid(r) * WKV(k, v))
  void mix_time(Step& step, Buffers& b, const Layer& layer, std::size_t index) const {
    const Attention& att = layer.attention;
    step.normalize(layer.ln1);
    const Shift shifts[] = {{&att.mix_k, &b.mixed_k}, {&att.mix_v, &b.mixed_v}, {&att.mix_r, &b.mixed_r}};
    step.shift(Step::kAttX, index, Step::ShareOf::kThis, shifts);
    step.remember(Step::kAttX, index);
    const Product inputs[] = {
        {&att.receptance, &b.mixed_r, &b.r}, {&att.key, &b.mixed_k, &b.k}, {&att.value, &b.mixed_v, &b.v}};
    step.multiply(inputs);
    recurrence(step, b, att, index);
    step.add_product(att.output, b.y);
  }

  void recurrence(Step& step, Buffers& b, const Attention& att, std::size_t index) const {
    const int channels = info_.heads;
    const auto runs = static_cast<std::size_t>((channels + kRun - 1) / kRun);
    const std::size_t work = step.places.size() * static_cast<std::size_t>(channels);
    step.pool.run(work < 8192 ? 1 : step.lanes, step.segments.size() * runs, [&](std::size_t item, unsigned) {
      const std::size_t segment = item / runs;
      const std::size_t first = step.first_token[segment];
      const int channel = static_cast<int>(item % runs) * kRun;
      kernels_.wkv4({
          .r = b.r.row(first) + channel,
          .k = b.k.row(first) + channel,
          .v = b.v.row(first) + channel,
          .w = att.decay.data() + channel,
          .u = att.bonus.data() + channel,
          .aa = step.part(segment, index, kAa) + channel,
          .bb = step.part(segment, index, kBb) + channel,
          .pp = step.part(segment, index, kPp) + channel,
          .y = b.y.row(first) + channel,
          .stride = b.r.stride,
          .tokens = static_cast<int>(step.segments[segment].tokens.size()),
          .size = std::min(kRun, channels - channel),
      });
    });
  }
};

class Rwkv4Blueprint final : public LayeredBlueprint<Attention> {
 public:
  explicit Rwkv4Blueprint(const TensorNames& names)
      : LayeredBlueprint(common_info(names, "rwkv4", "4"), "ffn.time_mix_k", "ffn.time_mix_r") {
    // Each channel is a head of its own.
    info.heads = names.dimension("blocks.0.att.receptance.weight", 0, 2);
    info.head_size = 1;
    const auto d = static_cast<std::uint32_t>(info.embedding);
    const auto channels = static_cast<std::uint32_t>(info.heads);
    // A logarithm has no use for a scale: pp stays f32 where other parts are rounded.
    info.state = {static_cast<std::uint32_t>(info.layers),
                  {{"att_x", d, d},
                   {"ffn_x", d, d},
                   {"aa", channels, channels},
                   {"bb", channels, channels},
                   {"pp", channels, StatePart::kExact}}};
  }

  std::shared_ptr<const Network> build(ModelInfo complete, const LoadOptions&) override {
    for (Layer& layer : weights_.layers) {
      for (float& decay : layer.attention.decay) {
        decay = static_cast<float>(-std::exp(static_cast<double>(decay)));
      }
    }
    if (upload_ != nullptr) return upload_->finish(std::move(complete), initialize_nothing_yet);
    return std::make_shared<Rwkv4>(std::move(complete), std::move(weights_));
  }

 private:
  void add_attention(std::vector<Slot>& slots, const std::string& name, std::size_t, Attention& att,
                     const NormWeights& ln1) override {
    const int d = info.embedding;
    const int channels = info.heads;
    slots.push_back({name + "time_mix_k", {d}, &att.mix_k});
    slots.push_back({name + "time_mix_v", {d}, &att.mix_v});
    slots.push_back({name + "time_mix_r", {d}, &att.mix_r});
    slots.push_back({name + "time_decay", {channels}, &att.decay});
    slots.push_back({name + "time_first", {channels}, &att.bonus});
    slots.push_back({name + "receptance.weight", {channels, d}, &att.receptance, {&ln1, &att.mix_r}});
    slots.push_back({name + "key.weight", {channels, d}, &att.key, {&ln1, &att.mix_k}});
    slots.push_back({name + "value.weight", {channels, d}, &att.value, {&ln1, &att.mix_v}});
    // The recurrence averages values: its channels are about as large as theirs.
    slots.push_back({name + "output.weight", {d, channels}, &att.output, {.matrix = &att.value}});
  }

  CudaTensors cuda_tensors() const override {
    CudaTensors tensors(info, WKV_CUDA_RWKV4, weights_.outer);
    int index = 0;
    for (const Layer& layer : weights_.layers) {
      const Attention& att = layer.attention;
      tensors.add(index, layer.ln1, layer.ln2, layer.feed_forward);
      tensors.add(WKV_CUDA_ATT_MIX_K, index, att.mix_k);
      tensors.add(WKV_CUDA_ATT_MIX_V, index, att.mix_v);
      tensors.add(WKV_CUDA_ATT_MIX_R, index, att.mix_r);
      tensors.add(WKV_CUDA_ATT_DECAY, index, att.decay);
      tensors.add(WKV_CUDA_ATT_BONUS, index, att.bonus);
      tensors.add(WKV_CUDA_ATT_RECEPTANCE, index, att.receptance);
      tensors.add(WKV_CUDA_ATT_KEY, index, att.key);
      tensors.add(WKV_CUDA_ATT_VALUE, index, att.value);
      tensors.add(WKV_CUDA_ATT_OUTPUT, index, att.output);
      ++index;
    }
    return tensors;
  }
};

}  // namespace

std::unique_ptr<Blueprint> rwkv4_blueprint(const TensorNames& names) {
  return std::make_unique<Rwkv4Blueprint>(names);
}

}  // namespace wkv
