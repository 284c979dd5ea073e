#include "backend/cuda/devices.h"

#include <cstring>

namespace wkv::cuda {

namespace {

struct Nothing {};

// What every architecture that the library has code for has.
WKV_KERNEL(kWarp) probe(WKV_ARGUMENTS Nothing) {}

}  // namespace

int count_devices() {
  int count = 0;
  check(cudaGetDeviceCount(&count), "looking for GPUs");
  return count;
}

void use_device(int device) {
  // An error that the thread still has, perhaps another device's, is not this one's.
  static_cast<void>(cudaGetLastError());
  const int count = count_devices();
  if (device < 0 || device >= count) {
    throw Failed{WKV_CUDA_NO_DEVICE, "there is no CUDA device " + std::to_string(device) + ": there " +
                                         (count == 1 ? "is 1" : "are " + std::to_string(count))};
  }
  check(cudaSetDevice(device), "choosing the GPU");
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(&probe));
  if (error == cudaErrorNoKernelImageForDevice) {
    static_cast<void>(cudaGetLastError());  // which would be taken for that of what the thread does next
    const WkvCudaDevice found = describe_device(device);
    throw Failed{WKV_CUDA_ARCHITECTURE, std::string("the library has no code for the ") + found.name +
                                            ", compute capability " + std::to_string(found.major) + "." +
                                            std::to_string(found.minor) +
                                            "; it has code for 7.5, 8.x, 9.0, 10.x and 12.0 or later"};
  }
  check(error, "looking for code for the GPU");
}

WkvCudaDevice describe_device(int device) {
  WkvCudaDevice description{};
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device), "describing the GPU");
  static_assert(sizeof properties.name == sizeof description.name);
  std::memcpy(description.name, properties.name, sizeof description.name);
  int number = 0;
  check(cudaDeviceGetAttribute(&number, cudaDevAttrComputeCapabilityMajor, device), "describing the GPU");
  description.major = number;
  check(cudaDeviceGetAttribute(&number, cudaDevAttrComputeCapabilityMinor, device), "describing the GPU");
  description.minor = number;
  check(cudaSetDevice(device), "choosing the GPU");
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "describing the GPU");
  description.memory = total;
  description.free_memory = free;
  return description;
}

}  // namespace wkv::cuda
