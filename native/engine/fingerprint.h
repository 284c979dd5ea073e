#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "engine/network.h"
#include "engine/tensor_directory.h"

namespace wkv {

// Identifies stored weights, whatever file holds them: 32 hex digits. `hashes` are TensorLoader's.
std::string fingerprint(const ModelInfo& info, const TensorDirectory& directory,
                        const std::map<std::string, std::uint64_t>& hashes);

bool is_fingerprint(const std::string& text);

// 16 hex digits.
std::string hexadecimal(std::uint64_t value);

}  // namespace wkv
