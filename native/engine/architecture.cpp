#include "engine/architecture.h"

#include <algorithm>
#include <string_view>

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
  if (decay == nullptr) {
    const std::string first = directory.tensors.empty() ? "nothing" : directory.tensors.front().name;
    throw Error("ERR_WKV_UNSUPPORTED", "this is no RWKV model: it has no tensor blocks.0.att.time_decay")
        .about("blocks.0.att.time_decay", "the tensors of an RWKV model", first + " and others");
  }
  if (has("blocks.0.att.gate.weight")) {
    return decay->shape.size() > 1 && decay->shape[1] > 1 ? "5.2" : "5.1";
  }
  return has("blocks.0.att.ln_x.weight") ? "5.0" : "4";
}

}  // namespace wkv
