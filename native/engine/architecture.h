#pragma once

#include <memory>
#include <string>

#include "engine/model_weights.h"
#include "engine/tensor_directory.h"
#include "engine/tensor_names.h"

namespace wkv {

// The version of an RWKV model, from its tensors' names and shapes: "4", "5.0", "5.1", "5.2", "6" or "7".
// Throws ERR_WKV_UNSUPPORTED if it is no RWKV model.
std::string detect_version(const TensorDirectory& directory);

// A model of the directory's version, with dimensions that its shapes give. Throws ERR_WKV_UNSUPPORTED or
// ERR_WKV_SHAPE.
std::unique_ptr<Blueprint> make_blueprint(const TensorDirectory& directory, const TensorNames& names);

}  // namespace wkv
