#pragma once

#include <napi.h>

#include "addon/reported_numbers.h"
#include "engine/state.h"

namespace wkv::addon {

// JavaScript's State: an immutable snapshot. Made by Session.snapshot() and State.deserialize().
class State : public Napi::ObjectWrap<State> {
 public:
  static Napi::Function constructor(Napi::Env env);
  static Napi::Object create(Napi::Env env, SessionState value);
  // Null for any other object.
  static State* from(const Napi::Value& value);

  explicit State(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

  const SessionState& value() const { return value_; }

 private:
  static Napi::Value deserialize(const Napi::CallbackInfo& info);
  static Napi::Value deserialize_async(const Napi::CallbackInfo& info);
  Napi::Value values(const Napi::CallbackInfo& info);
  Napi::Value serialize(const Napi::CallbackInfo& info);
  Napi::Value serialize_async(const Napi::CallbackInfo& info);
  Napi::Value info(const Napi::CallbackInfo& info);

  SessionState value_;
  ReportedNumbers reported_;
};

}  // namespace wkv::addon
