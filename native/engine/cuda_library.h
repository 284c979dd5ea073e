#pragma once

#include <string>

#include "backend/cuda/api.h"

namespace wkv {

// The functions of the CUDA backend's library at this path. It is opened once per process and never closed,
// because the CUDA runtime leaves threads and exit handlers behind. Throws ERR_WKV_DEVICE.
const WkvCudaApi& open_cuda_library(const std::string& path);

}  // namespace wkv
