#pragma once

#include <napi.h>

namespace wkv::addon {

// Adds `planConversion(directory, weights)` and `convertModel(directory, file, onProgress)`.
void init_converting(Napi::Env env, Napi::Object exports);

}  // namespace wkv::addon
