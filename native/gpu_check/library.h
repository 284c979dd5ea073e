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
    can_use = reinterpret_cast<WkvCanUse>(dlsym(module, WKV_CAN_USE));
    launches = reinterpret_cast<WkvLaunches>(dlsym(module, WKV_LAUNCHES));
    measure_ceilings = reinterpret_cast<WkvMeasureCeilings>(dlsym(module, WKV_MEASURE_CEILINGS));
    api = entry == nullptr ? nullptr : entry(WKV_CUDA_API_VERSION);
    if (api == nullptr || run_instructions == nullptr || has_wide_products == nullptr || use == nullptr ||
        can_use == nullptr || launches == nullptr)
      throw std::runtime_error(path + " is another library");
  }

  const WkvCudaApi* api;
  WkvRunInstructions run_instructions;
  WkvHasWideProducts has_wide_products;
  WkvUse use;
  WkvCanUse can_use;
  WkvLaunches launches;
  WkvMeasureCeilings measure_ceilings;  // null in the simulated one
};

// What a function of the table answered instead of OK.
struct Refused : std::runtime_error {
  Refused(std::int32_t with, const char* text) : std::runtime_error(text), code(with) {}

  std::int32_t code;
};

// A call of the table that must succeed. Throws Refused.
inline void must(std::int32_t code, const WkvCudaFailure& failure) {
  if (code != WKV_CUDA_OK) throw Refused(code, failure.text);
}

}  // namespace wkv::gpu_check
