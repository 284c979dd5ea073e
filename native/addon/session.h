#pragma once

#include <napi.h>

#include <deque>
#include <memory>

#include "addon/model.h"
#include "engine/state.h"

namespace wkv::addon {

// JavaScript's Session: one evaluation at a time, whose end sets the new state. It begins when the turn of
// the event loop is over: see Environment::stage.
class Session : public Napi::ObjectWrap<Session> {
 public:
  static Napi::Function constructor(Napi::Env env);
  static Napi::Object create(Napi::Env env, std::shared_ptr<ModelHandle> model, SessionState state);

  explicit Session(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  struct Pending;

  // evaluate({ tokens, output, generated, draw, pack, abandonable }):
  // promise of { cancelled, values?, token?, logprob?, topTokens?, topLogprobs? }
  Napi::Value evaluate(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value evaluated(const Napi::CallbackInfo& info);
  Napi::Value snapshot(const Napi::CallbackInfo& info);
  Napi::Value random(const Napi::CallbackInfo& info);
  Napi::Value set_random(const Napi::CallbackInfo& info);
  Napi::Value has_logits(const Napi::CallbackInfo& info);
  // beginGeneration(sampling, sessionCounts): how what follows is drawn and counted.
  Napi::Value begin_generation(const Napi::CallbackInfo& info);
  // Keeps the state as it is now, after those kept before.
  Napi::Value keep(const Napi::CallbackInfo& info);
  // forget(count): lets the oldest states go that were kept.
  Napi::Value forget(const Napi::CallbackInfo& info);
  // Goes back to the oldest state that was kept.
  Napi::Value go_back(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  void require_idle(Napi::Env env) const;
  static void settle(Napi::Env env, Pending& pending);

  std::shared_ptr<ModelHandle> model_;
  SessionState state_;
  std::deque<SessionState> kept_;
  std::shared_ptr<const Generation> generation_;
  std::shared_ptr<Evaluation> pending_;
  bool disposed_ = false;
  ReportedNumbers reported_;
};

}  // namespace wkv::addon
