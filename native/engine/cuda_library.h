#pragma once

#include <string>

#include "backend/cuda/api.h"

namespace wkv::cuda {

struct Library {
  const WkvCudaApi* api;  // null: then `reason` says why
  std::string reason;
};

// Opens the library of the CUDA backend at this path, once per process: it is never closed, because the CUDA
// runtime leaves threads and exit handlers behind. A failure is not remembered.
Library open_library(const std::string& path);

}  // namespace wkv::cuda
