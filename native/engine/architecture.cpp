#include "engine/architecture.h"

#include <algorithm>
#include <string_view>

#include "engine/architectures.h"
#include "engine/error.h"

namespace wkv {

namespace {

const TensorEntry* find(const TensorDirectory& directory, std::string_view name) {
  const auto found = std::find_if(directory.tensors.begin(), directory.tensors.end(),
                                  [name](const TensorEntry& tensor) { return tensor.name == name; });
  return found == directory.tensors.end() ? nullptr : &*found;
}

// What stands behind the number of a layer in the name of a tensor; nothing in other names.
std::string_view part_of_layer(std::string_view name) {
  for (const std::string_view prefix : {"blocks.", "model.layers."}) {
    if (!name.starts_with(prefix)) continue;
    const std::size_t end = name.find_first_not_of("0123456789", prefix.size());
    if (end != std::string_view::npos && end > prefix.size() && name[end] == '.') return name.substr(end + 1);
  }
  return {};
}

struct Stranger {
  std::string_view part;  // that the part of a layer begins with
  const char* what;
};

// Models that are like the ones read here. The names are those of RWKV-LM (RWKV-v7/rwkv_v7a_demo.py,
// rwkv_v7b_demo.py and rwkv_v8_rc00_demo.py, RWKV-v8/260222_rosa4bitLM_L12.py), of flash-linear-attention
// (utils/convert_from_rwkv6.py) and of Qwen2, whose attention QRWKV and ARWKV replace. RWKV-7b has DeepEmbed
// too, so it comes first.
constexpr Stranger kStrangers[] = {
    {"qkv.", "RWKV-7b or RWKV-8 (deep embedding attention)"},
    {"ffn.s_emb", "RWKV-7a (DeepEmbed)"},
    {"ffn.enn.", "RWKV-8 (DeepEmbed)"},
    {"rosa.", "RWKV-8 (ROSA)"},
    {"attn.x_proj.", "RWKV-6 as flash-linear-attention lays it out"},
    {"self_attn.", "a transformer, maybe with RWKV for its attention (QRWKV, ARWKV)"},
};

// What there is instead of the tensors of a model: the first few, and how many others.
std::string some_names(const TensorDirectory& directory) {
  constexpr std::size_t kShown = 3;
  const std::size_t count = directory.tensors.size();
  std::string text;
  for (std::size_t i = 0; i < std::min(count, kShown); ++i) {
    if (i > 0) text += i + 1 == count ? " and " : ", ";
    text += directory.tensors[i].name;
  }
  if (count > kShown)
    text += " and " + std::to_string(count - kShown) + (count == kShown + 1 ? " other" : " others");
  return count == 0 ? "none" : text;
}

[[noreturn]] void refuse_other_files(const TensorDirectory& directory) {
  const auto& tensors = directory.tensors;
  const bool is_tuned_state =
      !tensors.empty() && std::all_of(tensors.begin(), tensors.end(), [](const TensorEntry& tensor) {
        return part_of_layer(tensor.name) == "att.time_state";
      });
  if (is_tuned_state) {
    throw Error("ERR_WKV_UNSUPPORTED",
                "this is no RWKV model but a tuned initial state: load the model that it was tuned for, and "
                "this with model.loadTunedState")
        .about(tensors.front().name, "the tensors of an RWKV model", some_names(directory));
  }
  const std::string found = some_names(directory);
  throw Error("ERR_WKV_UNSUPPORTED",
              "this is no RWKV model: it has no tensor blocks.0.att.time_decay; its tensors are " + found)
      .about("blocks.0.att.time_decay", "the tensors of an RWKV model", found);
}

void refuse_strangers(const TensorDirectory& directory) {
  for (const Stranger& stranger : kStrangers) {
    for (const TensorEntry& tensor : directory.tensors) {
      if (!part_of_layer(tensor.name).starts_with(stranger.part)) continue;
      const std::string what = stranger.what;
      throw Error("ERR_WKV_UNSUPPORTED",
                  "the tensor " + tensor.name + " is one of " + what + ", which is not supported")
          .about(tensor.name, "RWKV 4 to 7", what);
    }
  }
}

}  // namespace

std::string detect_version(const TensorDirectory& directory) {
  const auto has = [&](std::string_view name) { return find(directory, name) != nullptr; };
  if (has("blocks.0.att.r_k") || has("blocks.0.att.k_k")) return "7";
  if (has("blocks.0.att.time_maa_x")) return "6";
  const TensorEntry* decay = find(directory, "blocks.0.att.time_decay");
  if (decay == nullptr && has("blocks.0.att.key.weight")) {
    throw Error("ERR_WKV_SHAPE", "the tensor blocks.0.att.time_decay is missing")
        .about("blocks.0.att.time_decay", "a tensor of this name", "nothing");
  }
  if (decay == nullptr) refuse_other_files(directory);
  const bool gated = has("blocks.0.att.gate.weight");
  if (!gated && !has("blocks.0.att.ln_x.weight")) return "4";
  if (decay->shape.size() == 2 && decay->shape[1] > 1) return "5.2";
  return gated ? "5.1" : "5.0";
}

std::unique_ptr<Blueprint> make_blueprint(const TensorDirectory& directory, const TensorNames& names) {
  refuse_strangers(directory);
  const std::string version = detect_version(directory);
  if (version == "7") return rwkv7_blueprint(names);
  if (version == "6") return rwkv6_blueprint(names);
  if (version == "4") return rwkv4_blueprint(names);
  return rwkv5_blueprint(names, version);
}

}  // namespace wkv
