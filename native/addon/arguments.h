#pragma once

// Between JavaScript values and the engine's. The façade has checked everything before; what is wrong here is
// a bug of ours or a caller who went around it, and gives an exception, never a crash.

#include <napi.h>

#include <cstdint>
#include <span>
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
std::int64_t require_integer(const Napi::Value& value, const char* name, std::int64_t lowest,
                             std::int64_t highest);
// A count or a place: from 0 to 2^53 - 1.
std::uint64_t require_size(const Napi::Value& value, const char* name);
std::uint64_t require_bigint(const Napi::Value& value, const char* name);

// The elements of a typed array, of int8, uint8, uint32, float or double: valid during the call, and where
// the array's memory is shared, another thread may change them meanwhile.
template <class Element>
std::span<Element> elements_of(const Napi::Value& value, const char* name);
// A copy of them.
template <class Element>
std::vector<Element> copy_of(const Napi::Value& value, const char* name) {
  const std::span<Element> elements = elements_of<Element>(value, name);
  return {elements.begin(), elements.end()};
}

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
