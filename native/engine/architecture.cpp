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
  if (decay == nullptr) {
    const std::string first = directory.tensors.empty() ? "nothing" : directory.tensors.front().name;
    throw Error("ERR_WKV_UNSUPPORTED", "this is no RWKV model: it has no tensor blocks.0.att.time_decay")
        .about("blocks.0.att.time_decay", "the tensors of an RWKV model", first + " and others");
  }
  const bool gated = has("blocks.0.att.gate.weight");
  if (!gated && !has("blocks.0.att.ln_x.weight")) return "4";
  if (decay->shape.size() == 2 && decay->shape[1] > 1) return "5.2";
  return gated ? "5.1" : "5.0";
}

std::unique_ptr<Blueprint> make_blueprint(const TensorDirectory& directory, const TensorNames& names) {
  for (const TensorEntry& tensor : directory.tensors) {
    if (tensor.name.find(".ffn.s_emb") == std::string::npos) continue;
    throw Error("ERR_WKV_UNSUPPORTED",
                "the tensor " + tensor.name + " is one of RWKV-8 (DeepEmbed), which is not supported")
        .about(tensor.name, "RWKV 4 to 7", "RWKV-8");
  }
  const std::string version = detect_version(directory);
  if (version == "7") return rwkv7_blueprint(names);
  if (version == "6") return rwkv6_blueprint(names);
  if (version == "4") return rwkv4_blueprint(names);
  return rwkv5_blueprint(names, version);
}

}  // namespace wkv
