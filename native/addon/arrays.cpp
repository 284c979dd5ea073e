#include "addon/arrays.h"

#include <string>

#include "addon/environment.h"
#include "engine/error.h"

namespace wkv::addon {

ArrayConstructors::ArrayConstructors(Napi::Env env) {
  for (const ArrayType& of :
       {array_type<std::uint8_t>(), array_type<std::uint32_t>(), array_type<float>(), array_type<double>()}) {
    constructors_[of.type] = Napi::Persistent(env.Global().Get(of.name).As<Napi::Function>());
  }
}

Napi::Value ArrayConstructors::create(Napi::Env env, napi_typedarray_type type, std::size_t size) const {
  try {
    return constructors_.at(type).New({Napi::Number::New(env, static_cast<double>(size))});
  } catch (const Napi::Error&) {
    throw Error("ERR_WKV_MEMORY",
                "there is not enough memory for a result of " + std::to_string(size) + " numbers");
  }
}

template <class Element>
Napi::TypedArrayOf<Element> new_array(Napi::Env env, std::size_t size) {
  constexpr napi_typedarray_type kType = array_type<Element>().type;
  const Napi::Value value = Environment::of(env).arrays.create(env, kType, size);
  // A constructor that was another's already when the addon was loaded may give anything.
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArrayOf<Element>>();
    if (array.TypedArrayType() == kType && array.ElementLength() == size) return array;
  }
  throw Napi::TypeError::New(env, "the global constructors of typed arrays have been replaced");
}

template Napi::TypedArrayOf<std::uint8_t> new_array(Napi::Env env, std::size_t size);
template Napi::TypedArrayOf<std::uint32_t> new_array(Napi::Env env, std::size_t size);
template Napi::TypedArrayOf<float> new_array(Napi::Env env, std::size_t size);
template Napi::TypedArrayOf<double> new_array(Napi::Env env, std::size_t size);

}  // namespace wkv::addon
