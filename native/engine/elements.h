#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/tensor_directory.h"
#include "engine/tensor_loader.h"

namespace wkv {

// Receives elements of the directory's tensor with this index: a run of them, `first` being how many of the
// tensor's come before. In any order and on any thread.
using ElementsVisitor =
    std::function<void(std::size_t tensor, std::uint64_t first, std::span<const unsigned char> elements)>;

// Shows the elements of all tensors, whatever model they are of, in logical order and converted to `type`
// (to nearest, ties to even); holds a few pieces of about a megabyte at a time. Throws Error
// (ERR_WKV_UNSUPPORTED for packed tensors, and for numbers that `type` cannot hold;
// ERR_WKV_FORMAT for what lies outside of its file, and for numbers that are not finite), Cancelled,
// std::bad_alloc, and what the visitor throws.
void read_elements(const TensorDirectory& directory, StoredType type, unsigned threads,
                   const std::atomic<bool>& cancelled, const LoadProgress& progress,
                   const ElementsVisitor& visit);

// The elements of all tensors as floats, one after the other.
std::vector<float> read_floats(const TensorDirectory& directory);

}  // namespace wkv
