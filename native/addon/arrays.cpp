#include "addon/arrays.h"

#include <string>

#include "addon/environment.h"
#include "engine/error.h"

namespace wkv::addon {

ArrayConstructors::ArrayConstructors(Napi::Env env) {
  const auto keep = [&](napi_typedarray_type type, const char* name) {
    constructors_[type] = Napi::Persistent(env.Global().Get(name).As<Napi::Function>());
  };
  keep(napi_uint8_array, "Uint8Array");
  keep(napi_uint32_array, "Uint32Array");
  keep(napi_float32_array, "Float32Array");
  keep(napi_float64_array, "Float64Array");
}

Napi::Value ArrayConstructors::create(Napi::Env env, napi_typedarray_type type, std::size_t size) const {
  try {
    return constructors_.at(type).New({Napi::Number::New(env, static_cast<double>(size))});
  } catch (const Napi::Error&) {
    throw Error("ERR_WKV_MEMORY",
                "there is not enough memory for a result of " + std::to_string(size) + " numbers");
  }
}

namespace {

template <class Element>
constexpr napi_typedarray_type kType = napi_uint8_array;
template <>
constexpr napi_typedarray_type kType<std::uint32_t> = napi_uint32_array;
template <>
constexpr napi_typedarray_type kType<float> = napi_float32_array;
template <>
constexpr napi_typedarray_type kType<double> = napi_float64_array;

}  // namespace

template <class Element>
Napi::TypedArrayOf<Element> new_array(Napi::Env env, std::size_t size) {
  const Napi::Value value = Environment::of(env).arrays.create(env, kType<Element>, size);
  // A constructor that was another's already when the addon was loaded may give anything.
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArrayOf<Element>>();
    if (array.TypedArrayType() == kType<Element> && array.ElementLength() == size) return array;
  }
  throw Napi::TypeError::New(env, "the global constructors of typed arrays have been replaced");
}

template Napi::TypedArrayOf<std::uint8_t> new_array(Napi::Env env, std::size_t size);
template Napi::TypedArrayOf<std::uint32_t> new_array(Napi::Env env, std::size_t size);
template Napi::TypedArrayOf<float> new_array(Napi::Env env, std::size_t size);
template Napi::TypedArrayOf<double> new_array(Napi::Env env, std::size_t size);

}  // namespace wkv::addon
