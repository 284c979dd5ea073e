#include "addon/state.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/arrays.h"
#include "addon/background.h"
#include "addon/environment.h"
#include "addon/guard.h"

namespace wkv::addon {

namespace {

constexpr napi_type_tag kTag = {0x6f2d1f4b9a7c4e01, 0xb3a1d56c08ee4f72};

StatePrecision precision_of(const Napi::Value& value) {
  const std::string name = require_string(value, "precision");
  if (name == "f16") return StatePrecision::kF16;
  if (name == "f32") return StatePrecision::kF32;
  throw Napi::TypeError::New(value.Env(), "precision must be 'f32' or 'f16'");
}

}  // namespace

Napi::Function State::constructor(Napi::Env env) {
  return DefineClass(env, "State",
                     {
                         StaticMethod<guarded<&State::deserialize>>("deserialize"),
                         StaticMethod<guarded<&State::deserialize_async>>("deserializeAsync"),
                         method<&State::serialize_async>("serializeAsync"),
                         method<&State::values>("values"),
                         method<&State::serialize>("serialize"),
                         method<&State::info>("info"),
                     });
}

Napi::Object State::create(Napi::Env env, SessionState value) {
  Napi::Object object =
      Environment::of(env).state_constructor.New({Napi::External<SessionState>::New(env, &value)});
  State* state = Unwrap(object);
  state->reported_.set(env, state->value_);
  return object;
}

State* State::from(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kTag)) return nullptr;
  return Unwrap(value.As<Napi::Object>());
}

State::State(const Napi::CallbackInfo& info) : Napi::ObjectWrap<State>(info) {
  if (!info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "a State is made by a session");
  value_ = std::move(*info[0].As<Napi::External<SessionState>>().Data());
  info.This().As<Napi::Object>().TypeTag(&kTag);
}

void State::Finalize(Napi::BasicEnv env) { reported_.reset(env); }

Napi::Value State::deserialize(const Napi::CallbackInfo& info) {
  return create(info.Env(), wkv::deserialize(copy_of<std::uint8_t>(info[0], "bytes")));
}

Napi::Value State::deserialize_async(const Napi::CallbackInfo& info) {
  auto bytes = std::make_shared<const std::vector<unsigned char>>(copy_of<std::uint8_t>(info[0], "bytes"));
  return in_background(
      info.Env(), [bytes] { return wkv::deserialize(*bytes); },
      [](Napi::Env env, SessionState state) { return create(env, std::move(state)); });
}

Napi::Value State::values(const Napi::CallbackInfo& info) {
  SessionState floats = value_;
  if (floats.numbers == nullptr) floats.unshare();
  const std::size_t count = value_.layout.numbers();
  Napi::Float32Array array = new_array<float>(info.Env(), count);
  std::copy_n(floats.numbers->floats(), count, array.Data());
  return array;
}

Napi::Value State::serialize(const Napi::CallbackInfo& info) {
  return to_array(info.Env(), wkv::serialize(value_, precision_of(info[0])));
}

Napi::Value State::serialize_async(const Napi::CallbackInfo& info) {
  const StatePrecision precision = precision_of(info[0]);
  return in_background(
      info.Env(), [state = value_, precision] { return wkv::serialize(state, precision); },
      to_array<unsigned char>);
}

Napi::Value State::info(const Napi::CallbackInfo& info) {
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("fingerprint", value_.fingerprint);
  object.Set("tokens", static_cast<double>(value_.tokens));
  return object;
}

}  // namespace wkv::addon
