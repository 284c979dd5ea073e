#pragma once

// The models that can be put together, one file for each: rwkv4.cpp, rwkv5.cpp and so on.

#include <memory>
#include <string>

#include "engine/model_weights.h"
#include "engine/tensor_names.h"

namespace wkv {

// Each derives the dimensions from the shapes of tensors. Throws ERR_WKV_SHAPE.
std::unique_ptr<Blueprint> rwkv4_blueprint(const TensorNames& names);
// version: "5.0", "5.1" or "5.2"
std::unique_ptr<Blueprint> rwkv5_blueprint(const TensorNames& names, const std::string& version);
std::unique_ptr<Blueprint> rwkv6_blueprint(const TensorNames& names);
std::unique_ptr<Blueprint> rwkv7_blueprint(const TensorNames& names);

}  // namespace wkv
