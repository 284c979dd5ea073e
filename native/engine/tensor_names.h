#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>

#include "engine/model_weights.h"
#include "engine/tensor_directory.h"

namespace wkv {

// The largest number of channels of anything.
inline constexpr std::int64_t kMaxChannels = std::int64_t{1} << 24;

// The tensors of a directory by name, and which of them a model has asked for.
class TensorNames {
 public:
  // Throws ERR_WKV_FORMAT if a name is there twice.
  explicit TensorNames(const TensorDirectory& directory);

  bool has(const std::string& name) const { return by_name_.contains(name); }

  // Throws ERR_WKV_SHAPE if it is missing.
  const TensorEntry& get(const std::string& name, const Shape& expected = {}) const;

  // The size of one dimension of a tensor that has `rank` of them, from 1 to kMaxChannels. Throws
  // ERR_WKV_SHAPE.
  int dimension(const std::string& name, std::size_t index, std::size_t rank) const;

  // One more than the highest N of the names "blocks.N."; a layer missing in between is missed later.
  // Throws ERR_WKV_SHAPE if there are too many.
  int layers() const;

  // The tensor, with its place in the file checked and with exactly this shape, which counts as used. Vectors
  // may carry leading dimensions of 1, as the time_mix tensors do. Throws ERR_WKV_SHAPE or ERR_WKV_FORMAT.
  const TensorEntry& take(const std::string& name, const Shape& expected);

  // Throws ERR_WKV_UNSUPPORTED if a tensor was not used; `model` says what it does not belong to.
  void refuse_unused(const std::string& model) const;

 private:
  const TensorDirectory& directory_;
  std::unordered_map<std::string, const TensorEntry*> by_name_;
  std::unordered_set<std::string> used_;
};

}  // namespace wkv
