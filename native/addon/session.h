#pragma once

#include <napi.h>

#include <memory>

#include "addon/model.h"
#include "engine/state.h"

namespace wkv::addon {

// JavaScript's Session: one evaluation at a time, whose end sets the new state.
class Session : public Napi::ObjectWrap<Session> {
 public:
  static Napi::Function constructor(Napi::Env env);
  static Napi::Object create(Napi::Env env, std::shared_ptr<ModelHandle> model, SessionState state);

  explicit Session(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  struct Pending;

  // evaluate({ tokens, output, abandonable, temperature?, topP? }): promise of { cancelled, values?, sampled?
  // }
  Napi::Value evaluate(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value snapshot(const Napi::CallbackInfo& info);
  Napi::Value random(const Napi::CallbackInfo& info);
  Napi::Value set_random(const Napi::CallbackInfo& info);
  Napi::Value has_logits(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  void require_idle(Napi::Env env) const;
  static void settle(Napi::Env env, Pending& pending);

  std::shared_ptr<ModelHandle> model_;
  SessionState state_;
  std::shared_ptr<Evaluation> pending_;
  bool disposed_ = false;
  std::int64_t reported_bytes_ = 0;
};

}  // namespace wkv::addon
