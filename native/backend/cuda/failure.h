#pragma once

#include <cstdint>
#include <string>

#include "backend/cuda/api.h"
#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

// What a function of the table returns; thrown within the library only.
struct Failed {
  WkvCudaCode code;
  std::string text;
};

// Throws Failed: the call makes no sense.
[[noreturn]] inline void refuse(const std::string& text) { throw Failed{WKV_CUDA_ARGUMENT, text}; }

// Throws Failed unless it is cudaSuccess; `doing` completes "while ...".
void check(cudaError_t error, const char* doing);

// Throws Failed unless it is 1 to `most`; `what` is a plural: "layers".
void require_count(const std::string& what, std::int64_t count, std::int64_t most);

}  // namespace wkv::cuda
