// RWKV-7 ("Goose", arXiv 2503.14456): BlinkDL's tensor names and the equations of his reference code.

#include <algorithm>
#include <array>

#include "engine/architectures.h"
#include "engine/layered_model.h"
#include "engine/wkv5_mixing.h"

namespace wkv {

namespace {

// What there are token shifts for.
constexpr int kMixes = 6;
constexpr std::array<const char*, kMixes> kMixNames = {"r", "w", "k", "v", "a", "g"};
enum Mix : std::size_t { kR, kW, kK, kV, kA, kG };

// bias + (input down) up, with something between the two
struct Lora {
  std::vector<float> bias;  // none for the gate
  LoraMatrix down, up;
};

struct Attention {
  std::array<std::vector<float>, kMixes> mix;  // x_r and so on: the share of the token before
  Lora w;                                      // decay
  Lora a;                                      // how much of what the state has for a key is replaced
  Lora v;                                      // how much of the first layer's value is taken
  Lora g;                                      // gate
  std::vector<float> k_k, k_a;                 // [head][channel]
  std::vector<float> r_k;
  Matrix receptance, key, value, output;
  NormWeights ln_x;
};

using Layer = LayerOf<Attention>;
using Weights = WeightsOf<Attention>;

struct Buffers final : StepBuffers {
  Buffers(const ModelInfo& info, unsigned lane_count, const Attention& att)
      : StepBuffers(info, lane_count),
        low_w(Network::kMaxTokens, att.w.down.outputs),
        low_a(Network::kMaxTokens, att.a.down.outputs),
        low_v(Network::kMaxTokens, att.v.down.outputs),
        low_g(Network::kMaxTokens, att.g.down.outputs) {
    for (Activation& activation : mixed) activation = Activation(Network::kMaxTokens, info.embedding);
    for (Activation* activation : {&r, &k, &v, &g, &y, &first_v, &share_v, &forget, &a, &kappa, &b}) {
      *activation = Activation(Network::kMaxTokens, info.heads * info.head_size);
    }
  }

  std::array<Activation, kMixes> mixed;
  Activation low_w, low_a, low_v, low_g;
  Activation r, k, v, g, y;
  Activation first_v;  // the first layer's value
  Activation share_v, forget, a, kappa, b;
};

class Rwkv7 final : public LayeredNetwork<Attention, Buffers> {
 public:
  Rwkv7(ModelInfo info, Weights weights, float group_norm_epsilon)
      : LayeredNetwork(std::move(info), std::move(weights)), group_norm_epsilon_(group_norm_epsilon) {}

  std::unique_ptr<Workspace> create_workspace(unsigned lanes) const override {
    // The first layer may have no LoRA of the value.
    return std::make_unique<Buffers>(info_, lanes, weights_.layers.back().attention);
  }

  void initialize(float* state) const override { initialize_state(info_, weights_.tuned, false, state); }

 private:
  void put_layer(Step& step, Buffers& b, const Layer& layer, std::size_t index) const override {
    mix_time(step, b, layer, index);
    mix_channels(step, layer.feed_forward, layer.ln2, index, Step::ShareOf::kBefore, b.mixed[kK], b.mixed[kR],
                 b.share_v);
  }

  // x += O (g * (GroupNorm(WKV(r, w, k, v, a)) + bonus))
  void mix_time(Step& step, Buffers& b, const Layer& layer, std::size_t index) const {
    const Attention& att = layer.attention;
    step.normalize(layer.ln1);
    std::array<Shift, kMixes> shifts;
    for (std::size_t mix = 0; mix < kMixes; ++mix) shifts[mix] = {&att.mix[mix], &b.mixed[mix]};
    step.shift(Step::kAttX, index, Step::ShareOf::kBefore, shifts);
    step.remember(Step::kAttX, index);
    Activation& v = index == 0 ? b.first_v : b.v;
    project(step, b, att, v, index);
    recurrence(step, b, att, v, index);
    step.add_product(att.output, b.y);
  }

  // Everything that the recurrence takes: r, k, v, and forget, a and g through their LoRA matrices.
  void project(Step& step, Buffers& b, const Attention& att, Activation& v, std::size_t index) const {
    // The first layer's value is everyone's.
    const std::size_t left_out = index == 0 ? 1 : 0;
    const Product down[] = {{&att.receptance, &b.mixed[kR], &b.r},
                            {&att.key, &b.mixed[kK], &b.k},
                            {&att.value, &b.mixed[kV], &v},
                            {att.w.down.matrix(), &b.mixed[kW], &b.low_w},
                            {att.a.down.matrix(), &b.mixed[kA], &b.low_a},
                            {att.g.down.matrix(), &b.mixed[kG], &b.low_g},
                            {att.v.down.matrix(), &b.mixed[kV], &b.low_v}};
    step.multiply(std::span(down).first(7 - left_out),
                  [&](std::size_t product, std::size_t token, int row, int rows) {
                    if (product == 3) kernels_.tanh(b.low_w.row(token) + row, rows);
                    if (product == 5) kernels_.sigmoid(b.low_g.row(token) + row, rows);
                  });
    const Product up[] = {{att.w.up.matrix(), &b.low_w, &b.forget},
                          {att.a.up.matrix(), &b.low_a, &b.a},
                          {att.g.up.matrix(), &b.low_g, &b.g},
                          {att.v.up.matrix(), &b.low_v, &b.share_v}};
    step.multiply(std::span(up).first(4 - left_out),
                  [&](std::size_t product, std::size_t token, int row, int rows) {
                    if (product == 0) {
                      kernels_.add(b.forget.row(token) + row, att.w.bias.data() + row, rows);
                      kernels_.forget_v7(b.forget.row(token) + row, rows);
                    } else if (product == 1) {
                      kernels_.add(b.a.row(token) + row, att.a.bias.data() + row, rows);
                      kernels_.sigmoid(b.a.row(token) + row, rows);
                    } else if (product == 3) {
                      kernels_.add(b.share_v.row(token) + row, att.v.bias.data() + row, rows);
                      kernels_.move_towards(v.row(token) + row, b.share_v.row(token) + row,
                                            b.first_v.row(token) + row, rows);
                    }
                  });
  }

  // y = g * (GroupNorm(WKV) + (sum over i of r[i] k[i] r_k[i]) v), head by head: a head's state stays in the
  // cache over all tokens.
  void recurrence(Step& step, Buffers& b, const Attention& att, const Activation& v,
                  std::size_t index) const {
    const int size = info_.head_size;
    step.for_each_head([&](std::size_t segment, std::size_t head) {
      const std::size_t first = step.first_token[segment];
      const std::size_t end = first + step.segments[segment].tokens.size();
      const std::ptrdiff_t channel = static_cast<std::ptrdiff_t>(head) * size;
      for (std::size_t token = first; token < end; ++token) {
        kernels_.wkv7_keys({.k = b.k.row(token) + channel,
                            .a = b.a.row(token) + channel,
                            .k_k = att.k_k.data() + channel,
                            .k_a = att.k_a.data() + channel,
                            .kappa = b.kappa.row(token) + channel,
                            .b = b.b.row(token) + channel,
                            .head_size = size});
      }
      kernels_.wkv7({.r = b.r.row(first) + channel,
                     .forget = b.forget.row(first) + channel,
                     .k = b.k.row(first) + channel,
                     .v = v.row(first) + channel,
                     .kappa = b.kappa.row(first) + channel,
                     .b = b.b.row(first) + channel,
                     .state = step.part(segment, index, Step::kRecurrence) + channel * size,
                     .y = b.y.row(first) + channel,
                     .stride = b.r.stride,
                     .tokens = static_cast<int>(end - first),
                     .head_size = size});
      for (std::size_t token = first; token < end; ++token) {
        float* y = b.y.row(token) + channel;
        kernels_.layer_norm(y, att.ln_x.weight.data() + channel, att.ln_x.bias.data() + channel,
                            group_norm_epsilon_, size, y);
        kernels_.wkv7_bonus({.y = y,
                             .r = b.r.row(token) + channel,
                             .k = b.k.row(token) + channel,
                             .v = v.row(token) + channel,
                             .r_k = att.r_k.data() + channel,
                             .head_size = size});
        kernels_.multiply(y, b.g.row(token) + channel, size);
      }
    });
  }

  float group_norm_epsilon_;
};

class Rwkv7Blueprint final : public LayeredBlueprint<Attention> {
 public:
  explicit Rwkv7Blueprint(const TensorNames& names)
      : LayeredBlueprint(common_info(names, "rwkv7", "7"), "ffn.x_k", nullptr) {
    const std::string r_k = "blocks.0.att.r_k";
    const int heads = names.dimension(r_k, 0, 2);
    set_heads(info, heads, names.dimension(r_k, 1, 2), r_k);
    first_has_v_ =
        names.has("blocks.0.att.v0") || names.has("blocks.0.att.v1") || names.has("blocks.0.att.v2");
    const int d = info.embedding;
    const int channels = info.heads * info.head_size;
    find_tuned_states(names);
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      Attention& att = weights_.layers[i].attention;
      const auto shape = [&](Lora& lora, const std::string& name) {
        // The ranks of all layers are the same; where they are not, taking the tensor says so.
        const std::string from = "blocks." + std::to_string(name == "v1" && !first_has_v_ ? 1 : 0) + ".att.";
        const int rank = names.dimension(from + name, 1, 2);
        lora.down = LoraMatrix(d, rank);
        lora.up = LoraMatrix(rank, channels);
      };
      shape(att.w, "w1");
      shape(att.a, "a1");
      shape(att.g, "g1");
      if (has_v(i)) shape(att.v, "v1");
    }
  }

  std::shared_ptr<const Network> build(ModelInfo complete, const LoadOptions& options) override {
    if (upload_ != nullptr)
      return upload_->finish(std::move(complete), tuned_state(std::move(weights_.tuned), false));
    return std::make_shared<Rwkv7>(std::move(complete), std::move(weights_), options.group_norm_epsilon);
  }

 private:
  void add_attention(std::vector<Slot>& slots, const std::string& name, std::size_t index, Attention& att,
                     const NormWeights& ln1) override {
    const int d = info.embedding;
    const int channels = info.heads * info.head_size;
    for (std::size_t mix = 0; mix < kMixes; ++mix) {
      slots.push_back({name + "x_" + kMixNames[mix], {d}, &att.mix[mix]});
    }
    add_lora(slots, name + "w", att.w);
    add_lora(slots, name + "a", att.a);
    if (has_v(index)) add_lora(slots, name + "v", att.v);
    slots.push_back({name + "g1", {att.g.down.inputs, att.g.down.outputs}, &att.g.down});
    slots.push_back({name + "g2", {att.g.up.inputs, att.g.up.outputs}, &att.g.up});
    slots.push_back({name + "k_k", {channels}, &att.k_k});
    slots.push_back({name + "k_a", {channels}, &att.k_a});
    slots.push_back({name + "r_k", {info.heads, info.head_size}, &att.r_k});
    slots.push_back({name + "receptance.weight", {channels, d}, &att.receptance, {&ln1, &att.mix[kR]}});
    slots.push_back({name + "key.weight", {channels, d}, &att.key, {&ln1, &att.mix[kK]}});
    slots.push_back({name + "value.weight", {channels, d}, &att.value, {&ln1, &att.mix[kV]}});
    slots.push_back({name + "output.weight", {d, channels}, &att.output, {.norm = &att.ln_x}});
    add_norm(slots, name + "ln_x", att.ln_x, channels);
  }

  CudaTensors cuda_tensors() const override {
    constexpr std::array<WkvCudaVector, kMixes> kCudaMixes = {WKV_CUDA_ATT_MIX_R, WKV_CUDA_ATT_MIX_W,
                                                              WKV_CUDA_ATT_MIX_K, WKV_CUDA_ATT_MIX_V,
                                                              WKV_CUDA_ATT_MIX_A, WKV_CUDA_ATT_MIX_G};
    CudaTensors tensors(info, WKV_CUDA_RWKV7, weights_.outer);
    const Attention& last = weights_.layers.back().attention;
    tensors.shape.decay_rank = last.w.down.outputs;
    tensors.shape.rate_rank = last.a.down.outputs;
    tensors.shape.value_rank = info.layers > 1 ? last.v.down.outputs : 0;
    tensors.shape.gate_rank = last.g.down.outputs;
    int index = 0;
    for (const Layer& layer : weights_.layers) {
      const Attention& att = layer.attention;
      tensors.add(index, layer.ln1, layer.ln2, layer.feed_forward);
      for (std::size_t mix = 0; mix < kMixes; ++mix) tensors.add(kCudaMixes[mix], index, att.mix[mix]);
      tensors.add(WKV_CUDA_ATT_DECAY, index, att.w.bias);
      tensors.add(WKV_CUDA_DECAY_DOWN, index, att.w.down);
      tensors.add(WKV_CUDA_DECAY_UP, index, att.w.up);
      tensors.add(WKV_CUDA_ATT_RATE, index, att.a.bias);
      tensors.add(WKV_CUDA_RATE_DOWN, index, att.a.down);
      tensors.add(WKV_CUDA_RATE_UP, index, att.a.up);
      // The first layer's value is everyone's.
      if (index > 0) {
        tensors.add(WKV_CUDA_ATT_FIRST, index, att.v.bias);
        tensors.add(WKV_CUDA_VALUE_DOWN, index, att.v.down);
        tensors.add(WKV_CUDA_VALUE_UP, index, att.v.up);
      }
      tensors.add(WKV_CUDA_GATE_DOWN, index, att.g.down);
      tensors.add(WKV_CUDA_GATE_UP, index, att.g.up);
      tensors.add(WKV_CUDA_ATT_K_K, index, att.k_k);
      tensors.add(WKV_CUDA_ATT_K_A, index, att.k_a);
      tensors.add(WKV_CUDA_ATT_R_K, index, att.r_k);
      tensors.add(WKV_CUDA_LN_X_WEIGHT, index, att.ln_x);
      tensors.add(WKV_CUDA_ATT_RECEPTANCE, index, att.receptance);
      tensors.add(WKV_CUDA_ATT_KEY, index, att.key);
      tensors.add(WKV_CUDA_ATT_VALUE, index, att.value);
      tensors.add(WKV_CUDA_ATT_OUTPUT, index, att.output);
      ++index;
    }
    return tensors;
  }

  // Published files have v0, v1 and v2 in the first layer too, where nothing uses them; others leave them
  // out.
  bool has_v(std::size_t layer) const { return layer > 0 || first_has_v_; }

  static void add_lora(std::vector<Slot>& slots, const std::string& name, Lora& lora) {
    slots.push_back({name + "0", {lora.up.outputs}, &lora.bias});
    slots.push_back({name + "1", {lora.down.inputs, lora.down.outputs}, &lora.down});
    slots.push_back({name + "2", {lora.up.inputs, lora.up.outputs}, &lora.up});
  }

  bool first_has_v_ = false;
};

}  // namespace

std::unique_ptr<Blueprint> rwkv7_blueprint(const TensorNames& names) {
  return std::make_unique<Rwkv7Blueprint>(names);
}

}  // namespace wkv
