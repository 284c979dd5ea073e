#include "addon/session.h"

#include <string>

#include "addon/arguments.h"
#include "addon/arrays.h"
#include "addon/environment.h"
#include "addon/guard.h"
#include "addon/state.h"

namespace wkv::addon {

// A call on its way: freed on the JavaScript thread, because it holds a reference to an object there.
struct Session::Pending {
  Napi::Promise::Deferred deferred;
  Napi::ObjectReference session;  // keeps it from being collected
  Session* self;
  std::shared_ptr<Evaluation> evaluation;
  Napi::Reference<Napi::Float32Array> values = {};  // where those go, of a call that changes numbers in place
};

Napi::Function Session::constructor(Napi::Env env) {
  return DefineClass(env, "Session",
                     {
                         method<&Session::evaluate>("evaluate"),
                         method<&Session::cancel>("cancel"),
                         method<&Session::evaluated>("evaluated"),
                         method<&Session::snapshot>("snapshot"),
                         method<&Session::set_random>("setRandom"),
                         method<&Session::random>("random"),
                         method<&Session::has_logits>("hasLogits"),
                         method<&Session::begin_generation>("beginGeneration"),
                         method<&Session::keep>("keep"),
                         method<&Session::forget>("forget"),
                         method<&Session::go_back>("goBack"),
                         method<&Session::dispose>("dispose"),
                     });
}

namespace {
struct Parts {
  std::shared_ptr<ModelHandle> model;
  SessionState state;
};
}  // namespace

Napi::Object Session::create(Napi::Env env, std::shared_ptr<ModelHandle> model, SessionState state) {
  Parts parts{std::move(model), std::move(state)};
  Napi::Object object =
      Environment::of(env).session_constructor.New({Napi::External<Parts>::New(env, &parts)});
  Session* session = Unwrap(object);
  session->reported_.set(env, session->state_);
  return object;
}

Session::Session(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Session>(info) {
  if (!info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "a Session is made by a model");
  Parts* parts = info[0].As<Napi::External<Parts>>().Data();
  model_ = std::move(parts->model);
  state_ = std::move(parts->state);
}

void Session::Finalize(Napi::BasicEnv env) { reported_.reset(env); }

void Session::require_idle(Napi::Env env) const {
  if (disposed_ || model_->engine == nullptr) {
    throw to_javascript(env, Error("ERR_WKV_DISPOSED", "the session has been disposed"));
  }
  if (pending_ != nullptr)
    throw to_javascript(env, Error("ERR_WKV_BUSY", "a call on the session is pending"));
}

namespace {

// How many values an evaluation of some tokens will have.
std::size_t values_of(const Evaluation& evaluation, std::size_t vocabulary) {
  const std::size_t tokens = evaluation.tokens.size();
  switch (evaluation.output) {
    case Output::kNone:
      return 0;
    case Output::kLast:
      return tokens == 0 ? 0 : vocabulary;
    case Output::kAll:
      return tokens * vocabulary;
    case Output::kScores:
      return tokens;
  }
  return 0;
}

// The generation with a mask for one draw: see Sampling. Without one it is the generation itself.
std::shared_ptr<const Generation> with_mask(std::shared_ptr<const Generation> generation,
                                            const Napi::Value& mask, std::size_t vocabulary) {
  if (mask.IsUndefined()) return generation;
  auto bits = std::make_shared<const std::vector<std::uint32_t>>(copy_of<std::uint32_t>(mask, "mask"));
  if (bits->size() != (vocabulary + 31) / 32) {
    throw Napi::RangeError::New(mask.Env(), "mask must have a bit for each token");
  }
  Generation masked = *generation;
  masked.sampling.mask = std::move(bits);
  return std::make_shared<const Generation>(std::move(masked));
}

}  // namespace

Napi::Value Session::evaluate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  require_idle(env);
  const Napi::Object options = require_object(info[0], "options");
  auto evaluation = std::make_shared<Evaluation>();
  evaluation->tokens = copy_of<std::uint32_t>(options.Get("tokens"), "tokens");
  const auto vocabulary = static_cast<std::uint32_t>(model_->info.vocabulary);
  for (std::size_t i = 0; i < evaluation->tokens.size(); ++i) {
    if (evaluation->tokens[i] < vocabulary) continue;
    const std::string found = "token " + std::to_string(evaluation->tokens[i]);
    throw to_javascript(env, Error("ERR_WKV_TOKEN", found + " at position " + std::to_string(i) +
                                                        " is not in the model's vocabulary")
                                 .about({}, "ids below " + std::to_string(vocabulary), found));
  }
  evaluation->output = static_cast<Output>(require_integer(options.Get("output"), "output", 0, 3));
  evaluation->generated = options.Get("generated").ToBoolean();
  evaluation->draw = options.Get("draw").ToBoolean();
  evaluation->pack = options.Get("pack").ToBoolean();
  if (evaluation->generated || evaluation->draw) {
    if (generation_ == nullptr) throw Napi::Error::New(env, "no generation has been begun");
    evaluation->generation = with_mask(generation_, options.Get("mask"), vocabulary);
  }
  evaluation->abandonable = options.Get("abandonable").ToBoolean();
  // Reading the options may have run JavaScript.
  require_idle(env);

  Environment& environment = Environment::of(env);
  std::unique_ptr<Pending> pending(new Pending{
      Napi::Promise::Deferred::New(env), Napi::Persistent(info.This().As<Napi::Object>()), this, evaluation});
  if (!evaluation->abandonable) {
    // Once numbers have been changed in place it is too late to find that there is no memory for the results.
    const std::size_t count = values_of(*evaluation, vocabulary);
    if (count > 0) pending->values = Napi::Persistent(new_array<float>(env, count));
  }
  Environment::Tasks task{[raw = pending.get()](Napi::Env js) {
    const std::unique_ptr<Pending> owned(raw);
    if (js != nullptr) settle(js, *owned);
  }};
  evaluation->finished = [&environment, task = std::move(task)]() mutable { environment.append(task); };
  const Napi::Promise promise = pending->deferred.Promise();
  // Without a copy kept here the numbers are changed in place.
  evaluation->state = evaluation->abandonable ? state_ : std::move(state_);
  pending_ = evaluation;
  environment.begin(env);
  try {
    environment.stage(*model_->engine, evaluation);
  } catch (...) {
    environment.end(env);
    pending_ = nullptr;
    state_ = std::move(evaluation->state);
    throw;
  }
  static_cast<void>(pending.release());  // to `finished`
  return promise;
}

namespace {

void set_drawn(Napi::Object& result, const Drawn& drawn, bool with_logprobs) {
  const Napi::Env env = result.Env();
  result.Set("token", drawn.token);
  if (!with_logprobs) return;
  Napi::Uint32Array tokens = new_array<std::uint32_t>(env, drawn.top.size());
  Napi::Float64Array logprobs = new_array<double>(env, drawn.top.size());
  for (std::size_t i = 0; i < drawn.top.size(); ++i) {
    tokens[i] = drawn.top[i].token;
    logprobs[i] = drawn.top[i].logprob;
  }
  result.Set("logprob", drawn.logprob);
  result.Set("topTokens", tokens);
  result.Set("topLogprobs", logprobs);
}

// `values` is where the evaluation's values go; without it they get an array now.
Napi::Object result_of(Napi::Env env, const Evaluation& evaluation,
                       const Napi::Reference<Napi::Float32Array>& values) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("cancelled", evaluation.was_cancelled);
  if (!evaluation.was_cancelled) {
    if (!values.IsEmpty() && values.Value().ElementLength() == evaluation.values.size()) {
      std::copy(evaluation.values.begin(), evaluation.values.end(), values.Value().Data());
      result.Set("values", values.Value());
    } else if (!evaluation.values.empty()) {
      result.Set("values", to_array(env, evaluation.values));
    }
    if (evaluation.draw) set_drawn(result, evaluation.drawn, evaluation.generation->sampling.logprobs != 0);
  }
  return result;
}

}  // namespace

void Session::settle(Napi::Env env, Pending& pending) {
  Environment::of(env).end(env);
  Session& self = *pending.self;
  Evaluation& evaluation = *pending.evaluation;
  // A step that others take part in is not abandoned for one that is cancelled.
  if (evaluation.abandonable && evaluation.cancelled.load()) evaluation.was_cancelled = true;
  // Before the promise is resolved: that may run JavaScript.
  const auto end = [&](bool failed) {
    self.pending_ = nullptr;
    if (self.disposed_ || (failed && evaluation.abandonable)) return;
    self.state_ = std::move(evaluation.state);
    self.reported_.set(env, self.state_);
  };
  settle_promise(pending.deferred, [&]() -> Napi::Value {
    Napi::Value result;
    try {
      if (evaluation.error && !evaluation.was_cancelled) throw Error(*evaluation.error);
      result = result_of(env, evaluation, pending.values);
    } catch (...) {
      // There may be no memory for the results: then the session is left as it was, where it can be.
      end(true);
      throw;
    }
    end(evaluation.was_cancelled);
    return result;
  });
}

Napi::Value Session::cancel(const Napi::CallbackInfo& info) {
  if (pending_ != nullptr && model_->engine != nullptr) model_->engine->cancel(*pending_);
  return info.Env().Undefined();
}

Napi::Value Session::evaluated(const Napi::CallbackInfo& info) {
  const std::size_t tokens = pending_ == nullptr ? 0 : pending_->evaluated.load(std::memory_order_relaxed);
  return Napi::Number::New(info.Env(), static_cast<double>(tokens));
}

Napi::Value Session::snapshot(const Napi::CallbackInfo& info) {
  require_idle(info.Env());
  return State::create(info.Env(), state_);
}

Napi::Value Session::random(const Napi::CallbackInfo& info) {
  require_idle(info.Env());
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("seed", Napi::BigInt::New(info.Env(), state_.seed));
  object.Set("draws", Napi::BigInt::New(info.Env(), state_.draws));
  return object;
}

Napi::Value Session::set_random(const Napi::CallbackInfo& info) {
  require_idle(info.Env());
  state_.seed = require_bigint(info[0], "seed");
  state_.draws = require_bigint(info[1], "draws");
  return info.Env().Undefined();
}

Napi::Value Session::has_logits(const Napi::CallbackInfo& info) {
  require_idle(info.Env());
  return Napi::Boolean::New(info.Env(), state_.has_logits());
}

Napi::Value Session::begin_generation(const Napi::CallbackInfo& info) {
  require_idle(info.Env());
  generation_ = std::make_shared<const Generation>(
      Generation{.sampling = to_sampling(info[0]), .session_counts = info[1].ToBoolean()});
  state_.generation = {};
  kept_.clear();
  return info.Env().Undefined();
}

Napi::Value Session::keep(const Napi::CallbackInfo& info) {
  require_idle(info.Env());
  kept_.push_back(state_);
  return info.Env().Undefined();
}

Napi::Value Session::forget(const Napi::CallbackInfo& info) {
  require_idle(info.Env());
  const std::int64_t count = require_integer(info[0], "count", 0, static_cast<std::int64_t>(kept_.size()));
  kept_.erase(kept_.begin(), kept_.begin() + count);
  return info.Env().Undefined();
}

Napi::Value Session::go_back(const Napi::CallbackInfo& info) {
  require_idle(info.Env());
  if (kept_.empty()) throw Napi::Error::New(info.Env(), "no state was kept");
  state_ = std::move(kept_.front());
  kept_.clear();
  reported_.set(info.Env(), state_);
  return info.Env().Undefined();
}

Napi::Value Session::dispose(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (disposed_) return env.Undefined();
  disposed_ = true;
  if (pending_ != nullptr && model_->engine != nullptr) model_->engine->cancel(*pending_);
  state_ = {};
  kept_.clear();
  reported_.reset(env);
  return env.Undefined();
}

}  // namespace wkv::addon
