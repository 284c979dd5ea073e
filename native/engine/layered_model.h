#pragma once

// What the models of all architectures have in common: layers of time mixing and channel mixing, on the way
// from a file to the CPU or a device, and their forward pass on the CPU. An architecture adds its attention,
// the weights of its time mixing.

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "engine/channel_mixing.h"
#include "engine/cuda_upload.h"
#include "engine/model_weights.h"
#include "engine/step.h"
#include "engine/tensor_names.h"

namespace wkv {

template <class Attention>
struct LayerOf {
  NormWeights ln1, ln2;
  Attention attention;
  FeedForward feed_forward;
};

template <class Attention>
struct WeightsOf {
  OuterWeights outer;
  std::vector<LayerOf<Attention>> layers;
  std::vector<std::vector<float>> tuned;  // time_state of each layer, empty where there is none
};

// The forward pass. `Buffers` is a StepBuffers that create_workspace() makes.
template <class Attention, class Buffers>
class LayeredNetwork : public Network {
 public:
  LayeredNetwork(ModelInfo info, WeightsOf<Attention> weights)
      : info_(std::move(info)), weights_(std::move(weights)), kernels_(selected_kernels()) {}

  const ModelInfo& info() const final { return info_; }

  bool step(std::span<const Segment> segments, Workspace& workspace, ThreadPool& pool, unsigned lanes,
            const LogitsSink& sink, const Abandon& abandon) const final {
    auto& b = static_cast<Buffers&>(workspace);
    Step step(info_, kernels_, segments, b, pool, lanes);
    step.embed(weights_.outer);
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      if (abandon()) return false;
      put_layer(step, b, weights_.layers[i], i);
    }
    step.logits(weights_.outer, sink);
    return true;
  }

 protected:
  // x += time mixing of LN(x; ln1), then x += channel mixing of LN(x; ln2).
  virtual void put_layer(Step& step, Buffers& b, const LayerOf<Attention>& layer,
                         std::size_t index) const = 0;

  const ModelInfo info_;
  const WeightsOf<Attention> weights_;
  const KernelTable& kernels_;
};

// The weights, while they are put together.
template <class Attention>
class LayeredBlueprint : public Blueprint {
 public:
  std::vector<Slot> slots() final {
    std::vector<Slot> slots;
    add_first(slots, info, weights_.outer);
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      LayerOf<Attention>& layer = weights_.layers[i];
      const std::string block = "blocks." + std::to_string(i) + ".";
      add_norm(slots, block + "ln1", layer.ln1, info.embedding);
      add_norm(slots, block + "ln2", layer.ln2, info.embedding);
      add_attention(slots, block + "att.", i, layer.attention, layer.ln1);
      if (is_tuned_[i]) {
        slots.push_back(
            {block + "att.time_state", {info.heads, info.head_size, info.head_size}, &weights_.tuned[i]});
      }
      add_feed_forward(slots, info, block, layer.feed_forward, layer.ln2, mix_k_, mix_r_);
    }
    add_last(slots, info, weights_.outer);
    return slots;
  }

  Uploader* begin_upload(const LoadOptions& options) final {
    if (options.cuda == nullptr) return nullptr;
    upload_ = std::make_unique<CudaUpload>(info, cuda_tensors(), options.group_norm_epsilon, *options.cuda,
                                           options.cuda_device);
    return upload_.get();
  }

 protected:
  // The names that channel mixing's mixes have in a block; the second is null where there is no receptance.
  LayeredBlueprint(const ModelInfo& common, const char* mix_k, const char* mix_r)
      : mix_k_(mix_k), mix_r_(mix_r) {
    info = common;
    weights_.layers.resize(static_cast<std::size_t>(info.layers));
    is_tuned_.resize(weights_.layers.size());
  }

  // Which layers have a time_state. For architectures whose recurrences are matrices.
  void find_tuned_states(const TensorNames& names) {
    weights_.tuned.resize(weights_.layers.size());
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      is_tuned_[i] = names.has("blocks." + std::to_string(i) + ".att.time_state");
    }
  }

  // The slots of a layer's attention, whose names begin with `name`. Its inputs are mixes of `ln1`.
  virtual void add_attention(std::vector<Slot>& slots, const std::string& name, std::size_t index,
                             Attention& att, const NormWeights& ln1) = 0;
  virtual CudaTensors cuda_tensors() const = 0;

  WeightsOf<Attention> weights_;
  std::unique_ptr<CudaUpload> upload_;  // null: the network is to be on the CPU

 private:
  const char* mix_k_;
  const char* mix_r_;
  std::vector<bool> is_tuned_;
};

}  // namespace wkv
