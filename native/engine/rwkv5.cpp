// RWKV-5 ("Eagle", arXiv 2404.05892): BlinkDL's tensor names and the equations of his reference code.
// Versions 5.0 and 5.1 have one decay for all channels of a head, 5.0 has no gate.

#include <algorithm>
#include <cmath>

#include "engine/architectures.h"
#include "engine/error.h"
#include "engine/rwkv5_weights.h"
#include "engine/wkv5_mixing.h"

namespace wkv {

namespace {

using rwkv5::Attention;
using rwkv5::Layer;
using rwkv5::Weights;

struct Buffers final : StepBuffers {
  Buffers(const ModelInfo& info, unsigned lane_count) : StepBuffers(info, lane_count) {
    for (Activation* activation : {&mixed_k, &mixed_v, &mixed_r, &mixed_g, &gate}) {
      *activation = Activation(Network::kMaxTokens, info.embedding);
    }
    for (Activation* activation : {&r, &k, &v, &g, &y}) {
      *activation = Activation(Network::kMaxTokens, info.heads * info.head_size);
    }
  }

  Activation mixed_k, mixed_v, mixed_r, mixed_g;
  Activation r, k, v, g, y;
  Activation gate;
};

class Rwkv5 final : public LayeredNetwork<Attention, Buffers> {
 public:
  Rwkv5(ModelInfo info, Weights weights, float group_norm_epsilon)
      : LayeredNetwork(std::move(info), std::move(weights)), group_norm_epsilon_(group_norm_epsilon) {}

  std::unique_ptr<Workspace> create_workspace(unsigned lanes) const override {
    return std::make_unique<Buffers>(info_, lanes);
  }

  void initialize(float* state) const override { initialize_state(info_, weights_.tuned, true, state); }

 private:
  void put_layer(Step& step, Buffers& b, const Layer& layer, std::size_t index) const override {
    mix_time(step, b, layer, index);
    mix_channels(step, layer.feed_forward, layer.ln2, index, Step::ShareOf::kThis, b.mixed_k, b.mixed_r,
                 b.gate);
  }

  // x += O (GroupNorm(WKV(r, k, v)) * silu(g))
  void mix_time(Step& step, Buffers& b, const Layer& layer, std::size_t index) const {
    const Attention& att = layer.attention;
    const bool gated = !att.mix_g.empty();
    const std::size_t count = gated ? 4 : 3;
    step.normalize(layer.ln1);
    const Shift shifts[] = {{&att.mix_k, &b.mixed_k},
                            {&att.mix_v, &b.mixed_v},
                            {&att.mix_r, &b.mixed_r},
                            {&att.mix_g, &b.mixed_g}};
    step.shift(Step::kAttX, index, Step::ShareOf::kThis, std::span(shifts).first(count));
    step.remember(Step::kAttX, index);
    const Product inputs[] = {{&att.receptance, &b.mixed_r, &b.r},
                              {&att.key, &b.mixed_k, &b.k},
                              {&att.value, &b.mixed_v, &b.v},
                              {&att.gate, &b.mixed_g, &b.g}};
    step.multiply(std::span(inputs).first(count));
    mix_wkv5(step, index,
             {.r = b.r,
              .k = b.k,
              .v = b.v,
              .g = gated ? &b.g : nullptr,
              .forget = att.forget.data(),
              .forget_stride = 0,
              .bonus = att.bonus,
              .ln_x = att.ln_x,
              .group_norm_epsilon = group_norm_epsilon_,
              .y = b.y});
    step.add_product(att.output, b.y);
  }

  float group_norm_epsilon_;
};

class Rwkv5Blueprint final : public LayeredBlueprint<Attention> {
 public:
  Rwkv5Blueprint(const TensorNames& names, const std::string& version)
      : LayeredBlueprint(common_info(names, "rwkv5", version), "ffn.time_mix_k", "ffn.time_mix_r"),
        per_channel_(version == "5.2"),
        gated_(version != "5.0") {
    const std::string decay = "blocks.0.att.time_decay";
    if (per_channel_) {
      const int heads = names.dimension(decay, 0, 2);
      set_heads(info, heads, names.dimension(decay, 1, 2), decay);
    } else {
      // One number for each head, maybe with dimensions of 1 after it.
      per_head_ = names.get(decay).shape;
      const int heads = names.dimension(decay, 0, std::max<std::size_t>(per_head_.size(), 1));
      if (!std::all_of(per_head_.begin() + 1, per_head_.end(), [](std::int64_t size) { return size == 1; })) {
        throw Error("ERR_WKV_SHAPE", "the tensor " + decay + " has the shape " + shape_text(per_head_))
            .about(decay, "a number for each head", shape_text(per_head_));
      }
      const int channels = names.dimension("blocks.0.att.receptance.weight", 0, 2);
      if (channels % heads != 0) {
        throw Error("ERR_WKV_SHAPE",
                    "the channels of the tensor blocks.0.att.receptance.weight are no whole heads")
            .about("blocks.0.att.receptance.weight", "a multiple of " + std::to_string(heads) + " rows",
                   std::to_string(channels));
      }
      set_heads(info, heads, channels / heads, decay);
      exponential_bonus_ = names.has("blocks.0.att.time_first");
    }
    find_tuned_states(names);
  }

  std::shared_ptr<const Network> build(ModelInfo complete, const LoadOptions& options) override {
    for (Layer& layer : weights_.layers) {
      Attention& att = layer.attention;
      for (float& decay : att.forget) {
        decay = static_cast<float>(-std::expm1(-std::exp(static_cast<double>(decay))));
      }
      if (exponential_bonus_) {
        for (float& bonus : att.bonus) bonus = static_cast<float>(std::exp(static_cast<double>(bonus)));
      }
      if (!per_channel_) {
        att.forget = spread(att.forget);
        att.bonus = spread(att.bonus);
      }
    }
    if (upload_ != nullptr)
      return upload_->finish(std::move(complete), tuned_state(std::move(weights_.tuned), true));
    return rwkv5::make_network(std::move(complete), std::move(weights_), options.group_norm_epsilon);
  }

 private:
  void add_attention(std::vector<Slot>& slots, const std::string& name, std::size_t, Attention& att,
                     const NormWeights& ln1) override {
    const int d = info.embedding;
    const int channels = info.heads * info.head_size;
    const Shape per_head = per_channel_ ? Shape{info.heads, info.head_size} : per_head_;
    slots.push_back({name + "time_mix_k", {d}, &att.mix_k});
    slots.push_back({name + "time_mix_v", {d}, &att.mix_v});
    slots.push_back({name + "time_mix_r", {d}, &att.mix_r});
    if (gated_) slots.push_back({name + "time_mix_g", {d}, &att.mix_g});
    slots.push_back({name + "time_decay", per_head, &att.forget});
    slots.push_back({name + (exponential_bonus_ ? "time_first" : "time_faaaa"), per_head, &att.bonus});
    slots.push_back({name + "receptance.weight", {channels, d}, &att.receptance, {&ln1, &att.mix_r}});
    slots.push_back({name + "key.weight", {channels, d}, &att.key, {&ln1, &att.mix_k}});
    slots.push_back({name + "value.weight", {channels, d}, &att.value, {&ln1, &att.mix_v}});
    if (gated_) slots.push_back({name + "gate.weight", {channels, d}, &att.gate, {&ln1, &att.mix_g}});
    slots.push_back({name + "output.weight", {d, channels}, &att.output, {.norm = &att.ln_x}});
    add_norm(slots, name + "ln_x", att.ln_x, channels);
  }

  CudaTensors cuda_tensors() const override { return rwkv5::cuda_tensors(info, weights_); }

  // A head's number for each of its channels.
  std::vector<float> spread(const std::vector<float>& per_head) const {
    std::vector<float> per_channel;
    for (const float number : per_head) {
      per_channel.insert(per_channel.end(), static_cast<std::size_t>(info.head_size), number);
    }
    return per_channel;
  }

  bool per_channel_;
  bool gated_;
  bool exponential_bonus_ = false;
  Shape per_head_;
};

}  // namespace

std::shared_ptr<const Network> rwkv5::make_network(ModelInfo info, Weights weights,
                                                   float group_norm_epsilon) {
  return std::make_shared<Rwkv5>(std::move(info), std::move(weights), group_norm_epsilon);
}

CudaTensors rwkv5::cuda_tensors(const ModelInfo& info, const Weights& weights) {
  const bool gated = info.version != "5.0";
  CudaTensors tensors(info, gated ? WKV_CUDA_RWKV5 : WKV_CUDA_RWKV5_0, weights.outer);
  int index = 0;
  for (const Layer& layer : weights.layers) {
    const Attention& att = layer.attention;
    tensors.add(index, layer.ln1, layer.ln2, layer.feed_forward);
    tensors.add(WKV_CUDA_ATT_MIX_K, index, att.mix_k);
    tensors.add(WKV_CUDA_ATT_MIX_V, index, att.mix_v);
    tensors.add(WKV_CUDA_ATT_MIX_R, index, att.mix_r);
    if (gated) tensors.add(WKV_CUDA_ATT_MIX_G, index, att.mix_g);
    tensors.add(WKV_CUDA_ATT_DECAY, index, att.forget);
    tensors.add(WKV_CUDA_ATT_BONUS, index, att.bonus);
    tensors.add(WKV_CUDA_LN_X_WEIGHT, index, att.ln_x);
    tensors.add(WKV_CUDA_ATT_RECEPTANCE, index, att.receptance);
    tensors.add(WKV_CUDA_ATT_KEY, index, att.key);
    tensors.add(WKV_CUDA_ATT_VALUE, index, att.value);
    if (gated) tensors.add(WKV_CUDA_ATT_GATE, index, att.gate);
    tensors.add(WKV_CUDA_ATT_OUTPUT, index, att.output);
    ++index;
  }
  return tensors;
}

std::unique_ptr<Blueprint> rwkv5_blueprint(const TensorNames& names, const std::string& version) {
  return std::make_unique<Rwkv5Blueprint>(names, version);
}

}  // namespace wkv
