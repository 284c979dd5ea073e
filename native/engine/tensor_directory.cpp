#include "engine/tensor_directory.h"

#include "engine/error.h"

namespace wkv {

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t dimension : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(dimension);
  }
  return text + "]";
}

std::int64_t element_count(const TensorEntry& tensor) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  std::int64_t count = 1;
  for (const std::int64_t dimension : tensor.shape) {
    if (dimension <= 0 || dimension > kMost / count) {
      throw Error("ERR_WKV_FORMAT",
                  "the tensor " + tensor.name + " has the impossible shape " + shape_text(tensor.shape))
          .about(tensor.name, "positive dimensions with a product of at most 2^40", shape_text(tensor.shape));
    }
    count *= dimension;
  }
  return count;
}

std::uint64_t checked_extent(const TensorDirectory& directory, const TensorEntry& tensor) {
  static_cast<void>(element_count(tensor));
  const auto fail = [&](const std::string& found) {
    throw Error("ERR_WKV_FORMAT", "the tensor " + tensor.name + " does not lie inside its file: " + found)
        .about(tensor.name, "all elements inside the file", found);
  };
  if (tensor.file >= directory.files.size()) fail("file number " + std::to_string(tensor.file));
  if (tensor.strides.size() != tensor.shape.size()) fail("a stride for every dimension is missing");
  const SourceFile& file = directory.files[tensor.file];
  const auto width = static_cast<std::uint64_t>(bytes_of(tensor.type));
  std::uint64_t last = 0;  // index of the last element; at most 8 terms below 2^60 each
  if (tensor.shape.size() > 8) fail(std::to_string(tensor.shape.size()) + " dimensions");
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    const auto steps = static_cast<std::uint64_t>(tensor.shape[i] - 1);
    const std::int64_t stride = tensor.strides[i];
    constexpr std::uint64_t kMost = std::uint64_t{1} << 56;
    if (stride < 0 || (steps != 0 && static_cast<std::uint64_t>(stride) > kMost / steps)) {
      fail("stride " + std::to_string(stride));
    }
    last += steps * static_cast<std::uint64_t>(stride);
  }
  const std::uint64_t extent = (last + 1) * width;
  if (tensor.offset > file.size || extent > file.size - tensor.offset) {
    fail("bytes " + std::to_string(tensor.offset) + " to " + std::to_string(tensor.offset) + "+" +
         std::to_string(extent) + " of " + std::to_string(file.size));
  }
  return extent;
}

}  // namespace wkv
