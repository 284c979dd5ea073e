#include "backend/cuda/failure.h"

namespace wkv::cuda {

namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Failed driver_failure() {
  int driver = 0;
  int runtime = 0;
  // Both only read numbers; what they cannot tell stays 0.
  static_cast<void>(cudaDriverGetVersion(&driver));
  static_cast<void>(cudaRuntimeGetVersion(&runtime));
  if (driver == 0) return {WKV_CUDA_NO_DRIVER, "there is no NVIDIA driver on this machine"};
  return {WKV_CUDA_OLD_DRIVER, "the NVIDIA driver is too old: it supports CUDA " + version_text(driver) +
                                   ", and the library needs CUDA " + version_text(runtime)};
}

std::string memory_text() {
  std::size_t free = 0;
  std::size_t total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return "";
  return ": " + std::to_string(free >> 20) + " of " + std::to_string(total >> 20) + " MiB are free";
}

}  // namespace

void check(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return;
  const std::string name = cudaGetErrorName(error);
  // Errors that do not last are forgotten; others come back with every call.
  static_cast<void>(cudaGetLastError());
  switch (error) {
    case cudaErrorInsufficientDriver:
      throw driver_failure();
    case cudaErrorNoDevice:
      throw Failed{WKV_CUDA_NO_DEVICE, "there is no NVIDIA GPU on this machine"};
    case cudaErrorInvalidDevice:
      throw Failed{WKV_CUDA_NO_DEVICE, "there is no such GPU on this machine"};
    case cudaErrorNoKernelImageForDevice:
      throw Failed{WKV_CUDA_ARCHITECTURE, "the library has no code for this GPU"};
    case cudaErrorMemoryAllocation:
      throw Failed{WKV_CUDA_MEMORY,
                   std::string("there is not enough memory on the GPU while ") + doing + memory_text()};
    default:
      throw Failed{WKV_CUDA_LOST, std::string("the GPU failed while ") + doing + ": " + name + ", " +
                                      cudaGetErrorString(error)};
  }
}

void require_count(const std::string& what, std::int64_t count, std::int64_t most) {
  if (count >= 1 && count <= most) return;
  throw Failed{WKV_CUDA_UNSUPPORTED, "the CUDA backend takes 1 to " + std::to_string(most) + " " + what +
                                         ", not " + std::to_string(count)};
}

}  // namespace wkv::cuda
