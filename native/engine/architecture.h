#pragma once

#include <string>

#include "engine/tensor_directory.h"

namespace wkv {

// The version of an RWKV model, from its tensors' names and shapes: "4", "5.0", "5.1", "5.2", "6" or "7".
// Throws ERR_WKV_UNSUPPORTED if it is no RWKV model.
std::string detect_version(const TensorDirectory& directory);

}  // namespace wkv
