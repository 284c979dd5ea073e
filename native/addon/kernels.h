#pragma once

#include <napi.h>

namespace wkv::addon {

// The kernels that lib/kernels.ts offers (quantizeInt8, gemmInt8, wkv5), and measurePeak and measureRead for
// the command line.
void init_kernels(Napi::Env env, Napi::Object exports);

}  // namespace wkv::addon
