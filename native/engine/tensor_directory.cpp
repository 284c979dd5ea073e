#include "engine/tensor_directory.h"

#include <cmath>

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
  constexpr std::int64_t kMax = std::int64_t{1} << 40;
  std::int64_t count = 1;
  for (const std::int64_t dimension : tensor.shape) {
    if (dimension <= 0 || dimension > kMax / count) {
      throw Error("ERR_WKV_FORMAT",
                  "the tensor " + tensor.name + " has the impossible shape " + shape_text(tensor.shape))
          .about(tensor.name, "positive dimensions with a product of at most 2^40", shape_text(tensor.shape));
    }
    count *= dimension;
  }
  return count;
}

namespace {

[[noreturn]] void refuse_place(const TensorEntry& tensor, const std::string& found) {
  throw Error("ERR_WKV_FORMAT", "the tensor " + tensor.name + " does not lie inside its file: " + found)
      .about(tensor.name, "all elements inside the file", found);
}

// One dimension has the elements of blocks as neighbours, and as many of them as fill blocks; the others step
// from block to block.
void require_whole_blocks(const TensorEntry& tensor) {
  const std::int64_t numbers = form_of(tensor.type).numbers;
  if (numbers == 1) return;
  bool has_blocks = false;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    if (tensor.shape[i] == 1) continue;
    if (tensor.strides[i] == 1 && tensor.shape[i] % numbers == 0 && !has_blocks) {
      has_blocks = true;
    } else if (tensor.strides[i] % numbers != 0 || tensor.strides[i] == 0) {
      has_blocks = false;
      break;
    }
  }
  if (has_blocks) return;
  throw Error("ERR_WKV_FORMAT", "the tensor " + tensor.name + " is not made of whole blocks of " +
                                    name_of(tensor.type) + ": its shape is " + shape_text(tensor.shape) +
                                    ", its strides " + shape_text(tensor.strides))
      .about(tensor.name, "rows of a multiple of " + std::to_string(numbers) + " numbers",
             shape_text(tensor.shape));
}

// Bytes from the first to the last element, inclusive.
std::uint64_t spanned_bytes(const TensorEntry& tensor) {
  if (tensor.strides.size() != tensor.shape.size()) {
    refuse_place(tensor, "a stride for every dimension is missing");
  }
  if (tensor.shape.size() > 8) refuse_place(tensor, std::to_string(tensor.shape.size()) + " dimensions");
  std::uint64_t last = 0;  // index of the last element; at most 8 terms below 2^60 each
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    const auto steps = static_cast<std::uint64_t>(tensor.shape[i] - 1);
    const std::int64_t stride = tensor.strides[i];
    constexpr std::uint64_t kMax = std::uint64_t{1} << 56;
    if (stride < 0 || (steps != 0 && static_cast<std::uint64_t>(stride) > kMax / steps)) {
      refuse_place(tensor, "stride " + std::to_string(stride));
    }
    last += steps * static_cast<std::uint64_t>(stride);
  }
  require_whole_blocks(tensor);
  const auto numbers = static_cast<std::uint64_t>(form_of(tensor.type).numbers);
  return (last + 1) / numbers * static_cast<std::uint64_t>(bytes_of(tensor.type));
}

void require_power_of_two(const TensorEntry& tensor) {
  int exponent = 0;
  if (std::isnormal(tensor.scale) && std::frexp(tensor.scale, &exponent) == 0.5F) return;
  throw Error("ERR_WKV_FORMAT",
              "the tensor " + tensor.name + " has the scale " + std::to_string(tensor.scale))
      .about(tensor.name, "a power of two", std::to_string(tensor.scale));
}

}  // namespace

std::uint64_t checked_extent(const TensorDirectory& directory, const TensorEntry& tensor) {
  static_cast<void>(element_count(tensor));
  require_power_of_two(tensor);
  if (tensor.file >= directory.files.size()) {
    refuse_place(tensor, "file number " + std::to_string(tensor.file));
  }
  const SourceFile& file = directory.files[tensor.file];
  const std::uint64_t extent = tensor.packed ? tensor.packed->bytes : spanned_bytes(tensor);
  if (tensor.offset > file.size || extent > file.size - tensor.offset) {
    refuse_place(tensor, "bytes " + std::to_string(tensor.offset) + " to " + std::to_string(tensor.offset) +
                             "+" + std::to_string(extent) + " of " + std::to_string(file.size));
  }
  return extent;
}

}  // namespace wkv
