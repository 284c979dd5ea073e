// RWKV-6 ("Finch", arXiv 2404.05892): RWKV-5 whose token shift and decay depend on the token. BlinkDL's
// tensor names and the equations of his reference code.

#include <algorithm>
#include <array>

#include "engine/architectures.h"
#include "engine/error.h"
#include "engine/layered_model.h"
#include "engine/wkv5_mixing.h"

namespace wkv {

namespace {

// What the token shift mixes for decay, key, value, receptance and gate, in the order of time_maa_w1.
constexpr int kMixes = 5;
constexpr std::array<const char*, kMixes> kMixNames = {"w", "k", "v", "r", "g"};
enum Mix : std::size_t { kW, kK, kV, kR, kG };

struct Attention {
  std::vector<float> maa_x;                    // the share of the token before
  std::array<std::vector<float>, kMixes> maa;  // the same, to which
  LoraMatrix maa_w1, maa_w2;                   // these add what depends on the tokens
  std::vector<float> decay;                    // time_decay, to which
  LoraMatrix decay_w1, decay_w2;               // these add
  std::vector<float> bonus;                    // time_faaaa, [head][channel]
  Matrix receptance, key, value, gate, output;
  NormWeights ln_x;
};

using Layer = LayerOf<Attention>;
using Weights = WeightsOf<Attention>;

struct Buffers final : StepBuffers {
  Buffers(const ModelInfo& info, unsigned lane_count, int mix_rank, int decay_rank)
      : StepBuffers(info, lane_count),
        shifted(Network::kMaxTokens, info.embedding),
        low_decay(Network::kMaxTokens, decay_rank),
        gate(Network::kMaxTokens, info.embedding) {
    for (Activation* activation : {&forget, &r, &k, &v, &g, &y}) {
      *activation = Activation(Network::kMaxTokens, info.heads * info.head_size);
    }
    for (Activation& activation : mixed) activation = Activation(Network::kMaxTokens, info.embedding);
    for (Activation& activation : low) activation = Activation(Network::kMaxTokens, mix_rank);
  }

  Activation shifted;
  std::array<Activation, kMixes> low, mixed;
  Activation low_decay, forget;
  Activation r, k, v, g, y;
  Activation gate;
};

class Rwkv6 final : public LayeredNetwork<Attention, Buffers> {
 public:
  Rwkv6(ModelInfo info, Weights weights, float group_norm_epsilon)
      : LayeredNetwork(std::move(info), std::move(weights)), group_norm_epsilon_(group_norm_epsilon) {}

  std::unique_ptr<Workspace> create_workspace(unsigned lanes) const override {
    const Attention& att = weights_.layers.front().attention;
    return std::make_unique<Buffers>(info_, lanes, att.maa_w1.outputs, att.decay_w1.outputs);
  }

  void initialize(float* state) const override { initialize_state(info_, weights_.tuned, true, state); }

 private:
  void put_layer(Step& step, Buffers& b, const Layer& layer, std::size_t index) const override {
    mix_time(step, b, layer, index);
    mix_channels(step, layer.feed_forward, layer.ln2, index, Step::ShareOf::kBefore, b.mixed[kK], b.mixed[kR],
                 b.gate);
  }

  // x += O (GroupNorm(WKV(r, w, k, v)) * silu(g))
  void mix_time(Step& step, Buffers& b, const Layer& layer, std::size_t index) const {
    const Attention& att = layer.attention;
    step.normalize(layer.ln1);
    shift(step, b, att, index);
    step.remember(Step::kAttX, index);
    const Product inputs[] = {{&att.receptance, &b.mixed[kR], &b.r},
                              {&att.key, &b.mixed[kK], &b.k},
                              {&att.value, &b.mixed[kV], &b.v},
                              {&att.gate, &b.mixed[kG], &b.g},
                              {att.decay_w1.matrix(), &b.mixed[kW], &b.low_decay}};
    step.multiply(inputs, [&](std::size_t product, std::size_t token, int row, int rows) {
      if (product == 4) kernels_.tanh(b.low_decay.row(token) + row, rows);
    });
    const Product decay[] = {{att.decay_w2.matrix(), &b.low_decay, &b.forget}};
    step.multiply(decay, [&](std::size_t, std::size_t token, int row, int rows) {
      float* forget = b.forget.row(token) + row;
      kernels_.add(forget, att.decay.data() + row, rows);
      kernels_.forget_v6(forget, rows);
    });
    mix_wkv5(step, index,
             {.r = b.r,
              .k = b.k,
              .v = b.v,
              .g = &b.g,
              .forget = b.forget.row(0),
              .forget_stride = b.forget.stride,
              .bonus = att.bonus,
              .ln_x = att.ln_x,
              .group_norm_epsilon = group_norm_epsilon_,
              .y = b.y});
    step.add_product(att.output, b.y);
  }

  // With s the token before minus this one: x_c = this + s (maa_c + tanh((this + s maa_x) W1_c) W2_c).
  void shift(Step& step, Buffers& b, const Attention& att, std::size_t index) const {
    const Shift first[] = {{&att.maa_x, &b.shifted}};
    step.shift(Step::kAttX, index, Step::ShareOf::kBefore, first);
    std::array<Product, kMixes> down;
    std::array<Product, kMixes> up;
    for (std::size_t mix = 0; mix < kMixes; ++mix) {
      down[mix] = {&att.maa_w1.parts[mix], &b.shifted, &b.low[mix]};
      up[mix] = {&att.maa_w2.parts[mix], &b.low[mix], &b.mixed[mix]};
    }
    step.multiply(down, [&](std::size_t mix, std::size_t token, int row, int rows) {
      kernels_.tanh(b.low[mix].row(token) + row, rows);
    });
    step.multiply(up);
    step.for_each_token([&](std::size_t token) {
      const float* before = step.before(token, Step::kAttX, index);
      for (std::size_t mix = 0; mix < kMixes; ++mix) {
        float* mixed = b.mixed[mix].row(token);
        kernels_.add(mixed, att.maa[mix].data(), info_.embedding);
        kernels_.token_shift(before, b.normed.row(token), mixed, info_.embedding, mixed);
      }
    });
  }

  float group_norm_epsilon_;
};

class Rwkv6Blueprint final : public LayeredBlueprint<Attention> {
 public:
  explicit Rwkv6Blueprint(const TensorNames& names)
      : LayeredBlueprint(common_info(names, "rwkv6", "6"), "ffn.time_maa_k", "ffn.time_maa_r") {
    const std::string bonus = "blocks.0.att.time_faaaa";
    const int heads = names.dimension(bonus, 0, 2);
    set_heads(info, heads, names.dimension(bonus, 1, 2), bonus);
    const int side_by_side = names.dimension("blocks.0.att.time_maa_w1", 1, 2);
    if (side_by_side % kMixes != 0) {
      throw Error("ERR_WKV_SHAPE", "the tensor blocks.0.att.time_maa_w1 is not for five mixes")
          .about("blocks.0.att.time_maa_w1", "a multiple of 5 columns", std::to_string(side_by_side));
    }
    mix_rank_ = side_by_side / kMixes;
    decay_rank_ = names.dimension("blocks.0.att.time_decay_w1", 1, 2);
    find_tuned_states(names);
    const int channels = info.heads * info.head_size;
    for (Layer& layer : weights_.layers) {
      Attention& att = layer.attention;
      att.maa_w1 = LoraMatrix(info.embedding, mix_rank_, kMixes, LoraMatrix::Parts::kSideBySide);
      att.maa_w2 = LoraMatrix(mix_rank_, info.embedding, kMixes, LoraMatrix::Parts::kOneAfterAnother);
      att.decay_w1 = LoraMatrix(info.embedding, decay_rank_);
      att.decay_w2 = LoraMatrix(decay_rank_, channels);
    }
  }

  std::shared_ptr<const Network> build(ModelInfo complete, const LoadOptions& options) override {
    if (upload_ != nullptr)
      return upload_->finish(std::move(complete), tuned_state(std::move(weights_.tuned), true));
    return std::make_shared<Rwkv6>(std::move(complete), std::move(weights_), options.group_norm_epsilon);
  }

 private:
  void add_attention(std::vector<Slot>& slots, const std::string& name, std::size_t, Attention& att,
                     const NormWeights& ln1) override {
    const int d = info.embedding;
    const int channels = info.heads * info.head_size;
    slots.push_back({name + "time_maa_x", {d}, &att.maa_x});
    for (std::size_t mix = 0; mix < kMixes; ++mix) {
      slots.push_back({name + "time_maa_" + kMixNames[mix], {d}, &att.maa[mix]});
    }
    slots.push_back({name + "time_maa_w1", {d, std::int64_t{kMixes} * mix_rank_}, &att.maa_w1});
    slots.push_back({name + "time_maa_w2", {kMixes, mix_rank_, d}, &att.maa_w2});
    slots.push_back({name + "time_decay", {channels}, &att.decay});
    slots.push_back({name + "time_decay_w1", {d, decay_rank_}, &att.decay_w1});
    slots.push_back({name + "time_decay_w2", {decay_rank_, channels}, &att.decay_w2});
    slots.push_back({name + "time_faaaa", {info.heads, info.head_size}, &att.bonus});
    slots.push_back({name + "receptance.weight", {channels, d}, &att.receptance, {&ln1, &att.maa[kR]}});
    slots.push_back({name + "key.weight", {channels, d}, &att.key, {&ln1, &att.maa[kK]}});
    slots.push_back({name + "value.weight", {channels, d}, &att.value, {&ln1, &att.maa[kV]}});
    slots.push_back({name + "gate.weight", {channels, d}, &att.gate, {&ln1, &att.maa[kG]}});
    slots.push_back({name + "output.weight", {d, channels}, &att.output, {.norm = &att.ln_x}});
    add_norm(slots, name + "ln_x", att.ln_x, channels);
  }

  CudaTensors cuda_tensors() const override {
    constexpr std::array<WkvCudaVector, kMixes> kCudaMixes = {
        WKV_CUDA_ATT_MIX_W, WKV_CUDA_ATT_MIX_K, WKV_CUDA_ATT_MIX_V, WKV_CUDA_ATT_MIX_R, WKV_CUDA_ATT_MIX_G};
    CudaTensors tensors(info, WKV_CUDA_RWKV6, weights_.outer);
    tensors.shape.mix_rank = mix_rank_;
    tensors.shape.decay_rank = decay_rank_;
    int index = 0;
    for (const Layer& layer : weights_.layers) {
      const Attention& att = layer.attention;
      tensors.add(index, layer.ln1, layer.ln2, layer.feed_forward);
      tensors.add(WKV_CUDA_ATT_MIX_X, index, att.maa_x);
      for (std::size_t mix = 0; mix < kMixes; ++mix) tensors.add(kCudaMixes[mix], index, att.maa[mix]);
      tensors.add(WKV_CUDA_MIX_W_DOWN, index, att.maa_w1);
      tensors.add(WKV_CUDA_MIX_W_UP, index, att.maa_w2);
      tensors.add(WKV_CUDA_ATT_DECAY, index, att.decay);
      tensors.add(WKV_CUDA_DECAY_DOWN, index, att.decay_w1);
      tensors.add(WKV_CUDA_DECAY_UP, index, att.decay_w2);
      tensors.add(WKV_CUDA_ATT_BONUS, index, att.bonus);
      tensors.add(WKV_CUDA_LN_X_WEIGHT, index, att.ln_x);
      tensors.add(WKV_CUDA_ATT_RECEPTANCE, index, att.receptance);
      tensors.add(WKV_CUDA_ATT_KEY, index, att.key);
      tensors.add(WKV_CUDA_ATT_VALUE, index, att.value);
      tensors.add(WKV_CUDA_ATT_GATE, index, att.gate);
      tensors.add(WKV_CUDA_ATT_OUTPUT, index, att.output);
      ++index;
    }
    return tensors;
  }

  int mix_rank_ = 0;
  int decay_rank_ = 0;
};

}  // namespace

std::unique_ptr<Blueprint> rwkv6_blueprint(const TensorNames& names) {
  return std::make_unique<Rwkv6Blueprint>(names);
}

}  // namespace wkv
