#include "engine/cuda_library.h"

#if defined(_WIN32)
#include <windows.h>

#include "engine/wide_path.h"
#else
#include <dlfcn.h>
#endif

#include "engine/error.h"

namespace wkv {

namespace {

#if defined(_WIN32)

WkvCudaEntry find_entry(const std::string& path, std::string& reason) {
  const HMODULE module = LoadLibraryW(wide_path(path).c_str());
  if (module == nullptr) {
    reason = "Windows error " + std::to_string(GetLastError());
    return nullptr;
  }
  const auto entry = reinterpret_cast<void (*)()>(GetProcAddress(module, WKV_CUDA_ENTRY));
  if (entry == nullptr) reason = "it has no function " WKV_CUDA_ENTRY;
  return reinterpret_cast<WkvCudaEntry>(entry);
}

#else

WkvCudaEntry find_entry(const std::string& path, std::string& reason) {
  void* const module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const entry = module == nullptr ? nullptr : dlsym(module, WKV_CUDA_ENTRY);
  if (entry == nullptr) {
    const char* const text = dlerror();
    reason = text == nullptr ? "unknown error" : text;
  }
  return reinterpret_cast<WkvCudaEntry>(entry);
}

#endif

}  // namespace

const WkvCudaApi& open_cuda_library(const std::string& path) {
  std::string reason;
  const WkvCudaEntry entry = find_entry(path, reason);
  if (entry == nullptr) {
    throw Error("ERR_WKV_DEVICE", "the library " + path + " cannot be opened: " + reason);
  }
  const WkvCudaApi* const api = entry(WKV_CUDA_API_VERSION);
  if (api == nullptr) {
    throw Error("ERR_WKV_DEVICE", "the library " + path +
                                      " is of another version of wkv: it does not have version " +
                                      std::to_string(WKV_CUDA_API_VERSION) + " of its functions");
  }
  return *api;
}

void check(std::int32_t code, const WkvCudaFailure& failure) {
  if (code == WKV_CUDA_OK) return;
  throw Error(code == WKV_CUDA_UNSUPPORTED ? "ERR_WKV_UNSUPPORTED" : "ERR_WKV_DEVICE", failure.text);
}

WkvCudaDevice describe_device(const WkvCudaApi& api, int device) {
  WkvCudaDevice description{};
  WkvCudaFailure failure{};
  check(api.describe_device(device, &description, &failure), failure);
  return description;
}

}  // namespace wkv
