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
    use_clusters = reinterpret_cast<WkvUseClusters>(dlsym(module, WKV_USE_CLUSTERS));
    measure_ceilings = reinterpret_cast<WkvMeasureCeilings>(dlsym(module, WKV_MEASURE_CEILINGS));
    api = entry == nullptr ? nullptr : entry(WKV_CUDA_API_VERSION);
    if (api == nullptr || run_instructions == nullptr || has_wide_products == nullptr ||
        use_clusters == nullptr)
      throw std::runtime_error(path + " is another library");
  }

  const WkvCudaApi* api;
  WkvRunInstructions run_instructions;
  WkvHasWideProducts has_wide_products;
  WkvUseClusters use_clusters;
  WkvMeasureCeilings measure_ceilings;  // null in the simulated one
};

// A call of the table that must succeed.
inline void must(std::int32_t code, const WkvCudaFailure& failure) {
  if (code != WKV_CUDA_OK) throw std::runtime_error(failure.text);
}

}  // namespace wkv::gpu_check
