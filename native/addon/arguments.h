#pragma once

// Between JavaScript values and the engine's. The façade has checked everything before; what is wrong here is
// a bug of ours or a caller who went around it, and gives an exception, never a crash.

#include <napi.h>

#include <string>
#include <vector>

#include "backend/cuda/api.h"
#include "engine/error.h"
#include "engine/model_loader.h"
#include "engine/sampler.h"

namespace wkv::addon {

// A JavaScript Error with the code and the details.
Napi::Error to_javascript(Napi::Env env, const Error& error);

std::string require_string(const Napi::Value& value, const char* name);
StoredType require_type(const Napi::Value& value, const char* name);
Precision require_precision(const Napi::Value& value, const char* name);
Napi::Object require_object(const Napi::Value& value, const char* name);
double require_number(const Napi::Value& value, const char* name, double lowest, double highest);
std::uint64_t require_bigint(const Napi::Value& value, const char* name);

// A copy of a typed array's elements.
std::vector<std::uint32_t> copy_uint32_array(const Napi::Value& value, const char* name);
std::vector<float> copy_float32_array(const Napi::Value& value, const char* name);
std::vector<double> copy_float64_array(const Napi::Value& value, const char* name);
std::vector<unsigned char> copy_uint8_array(const Napi::Value& value, const char* name);

TensorDirectory to_directory(const Napi::Value& value);
Sampling to_sampling(const Napi::Value& value);
LoadOptions to_load_options(const Napi::Value& value);
// The CUDA backend's library at a path; throws ERR_WKV_DEVICE.
const WkvCudaApi& open_cuda(const Napi::Value& path);
// What an option `cuda: { library, device }` says; throws as open_cuda() does.
struct CudaTarget {
  const WkvCudaApi* api = nullptr;  // null: the CPU
  int device = 0;
};
CudaTarget to_cuda_target(const Napi::Value& value);
// The option `threads`.
unsigned to_threads(const Napi::Object& options);
Napi::Object to_javascript(Napi::Env env, const ModelInfo& info);

}  // namespace wkv::addon
