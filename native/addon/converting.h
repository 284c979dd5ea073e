#pragma once

#include <napi.h>

namespace wkv::addon {

// Adds `planConversion(directory, weights)`, `convertModel(directory, file, onProgress)`,
// `convertElements(directory, file, onProgress)` and `readElements(directory)`.
void init_converting(Napi::Env env, Napi::Object exports);

}  // namespace wkv::addon
