#include "engine/tensor_names.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "engine/error.h"

namespace wkv {

namespace {

constexpr int kMaxLayers = 1024;

}  // namespace

TensorNames::TensorNames(const TensorDirectory& directory) : directory_(directory) {
  for (const TensorEntry& tensor : directory.tensors) {
    if (!by_name_.emplace(tensor.name, &tensor).second) {
      throw Error("ERR_WKV_FORMAT", "the tensor " + tensor.name + " is there twice").about(tensor.name);
    }
  }
}

const TensorEntry& TensorNames::get(const std::string& name, const Shape& expected) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) {
    throw Error("ERR_WKV_SHAPE", "the tensor " + name + " is missing")
        .about(name, expected.empty() ? "a tensor of this name" : shape_text(expected), "nothing");
  }
  return *found->second;
}

int TensorNames::dimension(const std::string& name, std::size_t index, std::size_t rank) const {
  const TensorEntry& tensor = get(name);
  const auto refuse = [&](const std::string& expected) {
    throw Error("ERR_WKV_SHAPE", "the tensor " + name + " has the shape " + shape_text(tensor.shape))
        .about(name, expected, shape_text(tensor.shape));
  };
  if (tensor.shape.size() != rank) refuse(std::to_string(rank) + " dimensions");
  const std::int64_t size = tensor.shape[index];
  if (size < 1 || size > kMaxChannels) refuse("dimensions from 1 to " + std::to_string(kMaxChannels));
  return static_cast<int>(size);
}

int TensorNames::layers() const {
  int layers = 1;
  for (const TensorEntry& tensor : directory_.tensors) {
    int index = 0;
    const std::string_view name = std::string_view(tensor.name);
    if (!name.starts_with("blocks.")) continue;
    const auto [end, error] = std::from_chars(name.data() + 7, name.data() + name.size(), index);
    if (error != std::errc{} || end == name.data() + name.size() || *end != '.') continue;
    if (index < 0 || index >= kMaxLayers) {
      throw Error("ERR_WKV_SHAPE", "the tensor " + tensor.name + " is of a layer beyond the " +
                                       std::to_string(kMaxLayers) + "th")
          .about(tensor.name, "at most " + std::to_string(kMaxLayers) + " layers", tensor.name);
    }
    layers = std::max(layers, index + 1);
  }
  return layers;
}

const TensorEntry& TensorNames::take(const std::string& name, const Shape& expected) {
  const TensorEntry& tensor = get(name, expected);
  Shape shape = tensor.shape;
  while (expected.size() == 1 && shape.size() > 1 && shape.front() == 1) shape.erase(shape.begin());
  if (shape != expected) {
    throw Error("ERR_WKV_SHAPE", "the tensor " + name + " has the shape " + shape_text(tensor.shape) +
                                     ", expected " + shape_text(expected))
        .about(name, shape_text(expected), shape_text(tensor.shape));
  }
  static_cast<void>(checked_extent(directory_, tensor));
  used_.insert(name);
  return tensor;
}

void TensorNames::refuse_unused(const std::string& model) const {
  for (const TensorEntry& tensor : directory_.tensors) {
    if (used_.contains(tensor.name)) continue;
    throw Error("ERR_WKV_UNSUPPORTED",
                "the tensor " + tensor.name + " does not belong to an " + model + " model")
        .about(tensor.name, "only the tensors of " + model, shape_text(tensor.shape));
  }
}

}  // namespace wkv
