#include "addon/state.h"

#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/background.h"
#include "addon/environment.h"

namespace wkv::addon {

namespace {

constexpr napi_type_tag kTag = {0x6f2d1f4b9a7c4e01, 0xb3a1d56c08ee4f72};

Napi::Value to_bytes(Napi::Env env, const std::vector<unsigned char>& bytes) {
  Napi::Uint8Array array = Napi::Uint8Array::New(env, bytes.size());
  std::copy(bytes.begin(), bytes.end(), array.Data());
  return array;
}

StatePrecision precision_of(const Napi::Value& value) {
  const bool half = value.IsString() && value.As<Napi::String>().Utf8Value() == "f16";
  return half ? StatePrecision::kF16 : StatePrecision::kF32;
}

}  // namespace

Napi::Function State::constructor(Napi::Env env) {
  return DefineClass(env, "State",
                     {
                         StaticMethod<&State::deserialize>("deserialize"),
                         StaticMethod<&State::deserialize_async>("deserializeAsync"),
                         InstanceMethod<&State::serialize_async>("serializeAsync"),
                         InstanceMethod<&State::values>("values"),
                         InstanceMethod<&State::serialize>("serialize"),
                         InstanceMethod<&State::info>("info"),
                     });
}

Napi::Object State::create(Napi::Env env, SessionState value) {
  const auto bytes = static_cast<std::int64_t>(value.bytes());
  Napi::Object object =
      Environment::of(env).state_constructor.New({Napi::External<SessionState>::New(env, &value)});
  Unwrap(object)->reported_bytes_ = bytes;
  Napi::MemoryManagement::AdjustExternalMemory(env, bytes);
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

void State::Finalize(Napi::BasicEnv env) {
  if (reported_bytes_ != 0) Napi::MemoryManagement::AdjustExternalMemory(env, -reported_bytes_);
}

Napi::Value State::deserialize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto bytes = copy_uint8_array(info[0], "bytes");
  auto outcome = attempt([&] { return wkv::deserialize(bytes); });
  if (outcome.error) throw to_javascript(env, *outcome.error);
  return create(env, std::move(*outcome.result));
}

Napi::Value State::deserialize_async(const Napi::CallbackInfo& info) {
  auto bytes = std::make_shared<const std::vector<unsigned char>>(copy_uint8_array(info[0], "bytes"));
  return in_background(
      info.Env(), [bytes] { return wkv::deserialize(*bytes); },
      [](Napi::Env env, SessionState state) { return create(env, std::move(state)); });
}

Napi::Value State::values(const Napi::CallbackInfo& info) {
  auto outcome = attempt([&] {
    SessionState floats = value_;
    if (floats.numbers == nullptr) floats.unshare();
    return floats.numbers;
  });
  if (outcome.error) throw to_javascript(info.Env(), *outcome.error);
  return to_float32_array(info.Env(), {(*outcome.result)->floats(), value_.layout.numbers()});
}

Napi::Value State::serialize(const Napi::CallbackInfo& info) {
  const StatePrecision precision = precision_of(info[0]);
  const auto outcome = attempt([&] { return wkv::serialize(value_, precision); });
  if (outcome.error) throw to_javascript(info.Env(), *outcome.error);
  return to_bytes(info.Env(), *outcome.result);
}

Napi::Value State::serialize_async(const Napi::CallbackInfo& info) {
  const StatePrecision precision = precision_of(info[0]);
  return in_background(
      info.Env(), [state = value_, precision] { return wkv::serialize(state, precision); }, to_bytes);
}

Napi::Value State::info(const Napi::CallbackInfo& info) {
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("fingerprint", value_.fingerprint);
  object.Set("tokens", static_cast<double>(value_.tokens));
  object.Set("bytes", static_cast<double>(value_.bytes()));
  object.Set("hasLogits", value_.has_logits());
  return object;
}

}  // namespace wkv::addon
