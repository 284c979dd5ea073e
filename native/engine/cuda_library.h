#pragma once

#include <string>

#include "backend/cuda/api.h"

namespace wkv {

// The functions of the CUDA backend's library at this path. It is opened once per process and never closed,
// because the CUDA runtime leaves threads and exit handlers behind. Throws ERR_WKV_DEVICE.
const WkvCudaApi& open_cuda_library(const std::string& path);

// Throws ERR_WKV_DEVICE, or ERR_WKV_UNSUPPORTED where that is why, unless a call succeeded.
void check(std::int32_t code, const WkvCudaFailure& failure);

// Throws ERR_WKV_DEVICE unless the device can be used.
WkvCudaDevice describe_device(const WkvCudaApi& api, int device);

}  // namespace wkv
