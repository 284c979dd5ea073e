#pragma once

// Typed arrays. Those for results are made by JavaScript's own constructors, which throw where there is no
// memory for the numbers; what Node-API has for it ends the process.

#include <napi.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <type_traits>
#include <vector>

namespace wkv::addon {

struct ArrayType {
  napi_typedarray_type type;
  const char* name;
};

// The arrays whose elements are of this type.
template <class Element>
constexpr ArrayType array_type() {
  if constexpr (std::is_same_v<Element, std::int8_t>) return {napi_int8_array, "Int8Array"};
  if constexpr (std::is_same_v<Element, std::uint8_t>) return {napi_uint8_array, "Uint8Array"};
  if constexpr (std::is_same_v<Element, std::uint32_t>) return {napi_uint32_array, "Uint32Array"};
  if constexpr (std::is_same_v<Element, float>) return {napi_float32_array, "Float32Array"};
  if constexpr (std::is_same_v<Element, double>) return {napi_float64_array, "Float64Array"};
}

// An environment's constructors, as they were when the addon was loaded: nobody can put others in their
// place.
class ArrayConstructors {
 public:
  explicit ArrayConstructors(Napi::Env env);

  // Throws ERR_WKV_MEMORY.
  Napi::Value create(Napi::Env env, napi_typedarray_type type, std::size_t size) const;

 private:
  std::map<napi_typedarray_type, Napi::FunctionReference> constructors_;
};

// A new array of zeros. Throws ERR_WKV_MEMORY.
template <class Element>
Napi::TypedArrayOf<Element> new_array(Napi::Env env, std::size_t size);
extern template Napi::TypedArrayOf<std::uint8_t> new_array(Napi::Env env, std::size_t size);
extern template Napi::TypedArrayOf<std::uint32_t> new_array(Napi::Env env, std::size_t size);
extern template Napi::TypedArrayOf<float> new_array(Napi::Env env, std::size_t size);
extern template Napi::TypedArrayOf<double> new_array(Napi::Env env, std::size_t size);

// A new array of these elements. Throws ERR_WKV_MEMORY.
template <class Element>
Napi::TypedArrayOf<Element> to_array(Napi::Env env, const std::vector<Element>& elements) {
  Napi::TypedArrayOf<Element> array = new_array<Element>(env, elements.size());
  std::copy(elements.begin(), elements.end(), array.Data());
  return array;
}

}  // namespace wkv::addon
