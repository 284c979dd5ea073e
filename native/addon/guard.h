#pragma once

// How what the addon throws comes to JavaScript: as an exception of a function, or in a promise.

#include <napi.h>

#include <new>

#include "addon/arguments.h"
#include "engine/error.h"

namespace wkv::addon {

// The body's result. What is thrown becomes an exception of JavaScript's: Napi knows no others, and would let
// them end the process.
template <class Body>
auto guarded(Napi::Env env, Body&& body) {
  try {
    return body();
  } catch (const Error& error) {
    throw to_javascript(env, error);
  } catch (const std::bad_alloc&) {
    throw to_javascript(env, Error("ERR_WKV_MEMORY", "there is not enough memory"));
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& other) {
    throw to_javascript(env, failure_of(other));
  }
}

// A function for Napi to call, in place of Call.
template <Napi::Value (*Call)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return Call(info); });
}

template <auto Member>
struct GuardedMethod;

template <class Wrapped, Napi::Value (Wrapped::*Member)(const Napi::CallbackInfo&)>
struct GuardedMethod<Member> {
  using Class = Wrapped;

  static napi_value call(napi_env env, napi_callback_info raw) {
    try {
      const Napi::CallbackInfo info(env, raw);
      Wrapped* object = Wrapped::Unwrap(info.This().As<Napi::Object>());
      return guarded(env, [&] { return (object->*Member)(info); });
    } catch (const Napi::Error& error) {
      error.ThrowAsJavaScriptException();
      return nullptr;
    }
  }
};

// For DefineClass, in place of Napi's InstanceMethod.
template <auto Member>
Napi::ClassPropertyDescriptor<typename GuardedMethod<Member>::Class> method(const char* name) {
  napi_property_descriptor descriptor{};
  descriptor.utf8name = name;
  descriptor.method = GuardedMethod<Member>::call;
  return descriptor;
}

// Settles a promise with the body's result, or with what it throws.
template <class Body>
void settle_promise(const Napi::Promise::Deferred& deferred, Body&& body) {
  Napi::Value value;
  try {
    value = guarded(deferred.Env(), body);
  } catch (const Napi::Error& error) {
    deferred.Reject(error.Value());
    return;
  }
  deferred.Resolve(value);
}

}  // namespace wkv::addon
