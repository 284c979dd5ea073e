#pragma once

// A built library: the table of functions, and the functions of the check beside it.

#include <dlfcn.h>

#include <stdexcept>
#include <string>

#include "backend/cuda/api.h"
#include "gpu_check/ceilings.h"
#include "gpu_check/instructions.h"

namespace wkv::gpu_check {

struct Library {
  explicit Library(const std::string& path) {
    void* const module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (module == nullptr) throw std::runtime_error(dlerror());
    const auto entry = reinterpret_cast<WkvCudaEntry>(dlsym(module, WKV_CUDA_ENTRY));
    run_instructions = reinterpret_cast<WkvRunInstructions>(dlsym(module, WKV_RUN_INSTRUCTIONS));
    has_wide_products = reinterpret_cast<WkvHasWideProducts>(dlsym(module, WKV_HAS_WIDE_PRODUCTS));
    use = reinterpret_cast<WkvUse>(dlsym(module, WKV_USE));
    has_layers_kernel = reinterpret_cast<WkvHasLayersKernel>(dlsym(module, WKV_HAS_LAYERS_KERNEL));
    layers_kernel_launches =
        reinterpret_cast<WkvLayersKernelLaunches>(dlsym(module, WKV_LAYERS_KERNEL_LAUNCHES));
    measure_ceilings = reinterpret_cast<WkvMeasureCeilings>(dlsym(module, WKV_MEASURE_CEILINGS));
    api = entry == nullptr ? nullptr : entry(WKV_CUDA_API_VERSION);
    if (api == nullptr || run_instructions == nullptr || has_wide_products == nullptr || use == nullptr ||
        has_layers_kernel == nullptr || layers_kernel_launches == nullptr)
      throw std::runtime_error(path + " is another library");
  }

  const WkvCudaApi* api;
  WkvRunInstructions run_instructions;
  WkvHasWideProducts has_wide_products;
  WkvUse use;
  WkvHasLayersKernel has_layers_kernel;
  WkvLayersKernelLaunches layers_kernel_launches;
  WkvMeasureCeilings measure_ceilings;  // null in the simulated one
};

// A call of the table that must succeed.
inline void must(std::int32_t code, const WkvCudaFailure& failure) {
  if (code != WKV_CUDA_OK) throw std::runtime_error(failure.text);
}

}  // namespace wkv::gpu_check
