#pragma once

#include <napi.h>

namespace wkv::addon {

// Adds `inspectModel(directory, options)`, `loadModel(directory, options, onProgress)`, `flush()`,
// `features()`, `cudaDeviceCount(library)` and `cudaDevice(library, index)`.
void init_loading(Napi::Env env, Napi::Object exports);

}  // namespace wkv::addon
