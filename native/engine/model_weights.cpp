#include "engine/model_weights.h"

#include <limits>

#include "engine/error.h"
#include "engine/tensor_names.h"

namespace wkv {

ModelInfo common_info(const TensorNames& names, const std::string& architecture, const std::string& version) {
  ModelInfo info;
  info.architecture = architecture;
  info.version = version;
  info.vocabulary = names.dimension("emb.weight", 0, 2);
  info.embedding = names.dimension("emb.weight", 1, 2);
  info.feed_forward = names.dimension("blocks.0.ffn.key.weight", 0, 2);
  info.layers = names.layers();
  return info;
}

void set_heads(ModelInfo& info, int heads, int head_size, const std::string& tensor) {
  info.heads = heads;
  info.head_size = head_size;
  const std::int64_t head_state = std::int64_t{head_size} * head_size;
  if (std::int64_t{heads} * head_size > kMaxChannels || head_state > kMaxChannels) {
    const std::string found = std::to_string(heads) + " heads of " + std::to_string(head_size);
    throw Error("ERR_WKV_SHAPE", "the tensor " + tensor + " makes " + found)
        .about(tensor, "at most 2^24 channels and numbers in a head's state", found);
  }
  const std::int64_t numbers = head_state * heads;
  if (numbers > std::numeric_limits<std::int32_t>::max()) {
    throw Error("ERR_WKV_SHAPE", "the state of a layer would have " + std::to_string(numbers) + " numbers")
        .about(tensor, "at most 2^31", std::to_string(numbers));
  }
  const auto channels = static_cast<std::uint32_t>(info.embedding);
  info.state = {static_cast<std::uint32_t>(info.layers),
                {{"att_x", channels, channels},
                 {"ffn_x", channels, channels},
                 {"wkv", static_cast<std::uint32_t>(numbers), static_cast<std::uint32_t>(head_state)}}};
}

void add_norm(std::vector<Slot>& slots, const std::string& name, NormWeights& norm, int size) {
  slots.push_back({name + ".weight", {size}, &norm.weight});
  slots.push_back({name + ".bias", {size}, &norm.bias});
}

void add_first(std::vector<Slot>& slots, const ModelInfo& info, OuterWeights& outer) {
  slots.push_back({"emb.weight", {info.vocabulary, info.embedding}, &outer.embedding});
  add_norm(slots, "blocks.0.ln0", outer.ln0, info.embedding);
}

void add_last(std::vector<Slot>& slots, const ModelInfo& info, OuterWeights& outer) {
  add_norm(slots, "ln_out", outer.ln_out, info.embedding);
  slots.push_back({"head.weight", {info.vocabulary, info.embedding}, &outer.head, {.norm = &outer.ln_out}});
}

}  // namespace wkv
