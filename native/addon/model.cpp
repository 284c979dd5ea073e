#include "addon/model.h"

#include "addon/arguments.h"
#include "addon/guard.h"
#include "addon/session.h"
#include "addon/state.h"

namespace wkv::addon {

ModelHandle::ModelHandle(Napi::Env env, std::shared_ptr<const LoadedModel> model, const ModelOptions& options)
    : info(model->network->info()),
      fingerprint(model->fingerprint),
      loaded(std::move(model)),
      engine(std::make_unique<Engine>(loaded->network, options.threads, options.max_batch,
                                      [&environment = Environment::of(env)] { environment.wake(); })),
      pack_states(options.pack_states),
      environment_(Environment::of(env)),
      engines_(environment_.engines()) {
  engines_->insert(engine.get());
}

ModelHandle::~ModelHandle() {
  if (engine != nullptr) close([] {});
}

void ModelHandle::close(std::function<void()> closed) {
  // Without its environment the engine has ended already, and nothing can be staged any more.
  const bool has_environment = engines_->erase(engine.get()) != 0;
  if (has_environment) environment_.flush();
  engine->stop();
  *remains_ = {std::move(engine), std::move(loaded), std::move(fresh_), std::move(closed)};
  const auto end = [remains = remains_] {
    const std::function<void()> tell = std::move(remains->closed);
    *remains = {};
    tell();
  };
  try {
    if (has_environment) return environment_.run_in_background([] {}, end);
  } catch (const std::exception&) {
    // There are no more threads, or no memory for one: it is done on this one.
  }
  end();
}

SessionState ModelHandle::blank_state(std::uint64_t seed) const {
  SessionState state;
  state.layout = info.state;
  state.fingerprint = fingerprint;
  state.vocabulary = static_cast<std::uint32_t>(info.vocabulary);
  state.numbers = std::make_shared<Memory>(info.state.numbers() * sizeof(float),
                                           pack_states ? SessionState::kMapPackedFrom : Memory::kMapFrom);
  state.seed = seed;
  return state;
}

SessionState ModelHandle::fresh_state(std::uint64_t seed) {
  if (!fresh_) {
    SessionState state = blank_state(0);
    loaded->network->initialize(state.numbers->floats());
    if (pack_states) state.pack(*loaded->network);
    fresh_ = std::move(state);
  }
  SessionState state = *fresh_;
  state.seed = seed;
  return state;
}

Napi::Function Model::constructor(Napi::Env env) {
  return DefineClass(env, "Model",
                     {
                         method<&Model::info>("info"),
                         method<&Model::create_session>("createSession"),
                         method<&Model::import_state>("importState"),
                         method<&Model::require_own_state>("requireOwnState"),
                         method<&Model::statistics>("statistics"),
                         method<&Model::dispose>("dispose"),
                     });
}

Napi::Object Model::create(Napi::Env env, std::shared_ptr<const LoadedModel> loaded,
                           const ModelOptions& options) {
  const auto bytes = static_cast<std::int64_t>(loaded->network->info().weight_bytes);
  auto handle = std::make_shared<ModelHandle>(env, std::move(loaded), options);
  Napi::Object object = Environment::of(env).model_constructor.New(
      {Napi::External<std::shared_ptr<ModelHandle>>::New(env, &handle)});
  Unwrap(object)->reported_bytes_ = bytes;
  Napi::MemoryManagement::AdjustExternalMemory(env, bytes);
  return object;
}

Model::Model(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Model>(info) {
  if (!info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "a Model is made by loadModel");
  handle_ = *info[0].As<Napi::External<std::shared_ptr<ModelHandle>>>().Data();
}

void Model::Finalize(Napi::BasicEnv env) {
  if (reported_bytes_ != 0) Napi::MemoryManagement::AdjustExternalMemory(env, -reported_bytes_);
}

Napi::Value Model::info(const Napi::CallbackInfo& info) {
  Napi::Object object = to_javascript(info.Env(), handle_->info);
  object.Set("fingerprint", handle_->fingerprint);
  const StateLayout& layout = handle_->info.state;
  const std::size_t bytes = handle_->pack_states ? packed_bytes(layout) : layout.numbers() * sizeof(float);
  object.Set("stateBytes", static_cast<double>(bytes));
  if (const auto fitting = handle_->info.sessions_that_fit) {
    object.Set("sessionsThatFit", static_cast<double>(*fitting));
  }
  return object;
}

Napi::Value Model::statistics(const Napi::CallbackInfo& info) {
  Napi::Object object = Napi::Object::New(info.Env());
  if (handle_->engine == nullptr) return object;
  const Statistics statistics = handle_->engine->statistics();
  object.Set("steps", static_cast<double>(statistics.steps));
  object.Set("tokens", static_cast<double>(statistics.tokens));
  object.Set("sessions", static_cast<double>(statistics.sessions));
  object.Set("most", static_cast<double>(statistics.most));
  return object;
}

void Model::require_usable() const {
  if (handle_->engine == nullptr) throw Error("ERR_WKV_DISPOSED", "the model has been disposed");
}

Napi::Value Model::import_state(const Napi::CallbackInfo& info) {
  require_usable();
  SessionState state = handle_->blank_state(require_bigint(info[1], "seed"));
  import_numbers(state, copy_of<float>(info[0], "values"));
  return State::create(info.Env(), std::move(state));
}

Napi::Value Model::create_session(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  require_usable();
  try {
    if (info[0].IsUndefined()) {
      return Session::create(env, handle_, handle_->fresh_state(require_bigint(info[1], "seed")));
    }
    SessionState value = own_state(info[0]);
    if (handle_->pack_states) value.pack(*handle_->loaded->network);
    return Session::create(env, handle_, std::move(value));
  } catch (const std::bad_alloc&) {
    throw Error("ERR_WKV_MEMORY", "there is not enough memory for a session's state");
  }
}

Napi::Value Model::require_own_state(const Napi::CallbackInfo& info) {
  own_state(info[0]);
  return info.Env().Undefined();
}

// Throws ERR_WKV_STATE where it is a state of another model.
const SessionState& Model::own_state(const Napi::Value& value) const {
  const State* object = State::from(value);
  if (object == nullptr) throw Napi::TypeError::New(value.Env(), "state must be a State");
  const SessionState& state = object->value();
  if (state.fingerprint != handle_->fingerprint) {
    throw Error("ERR_WKV_STATE", "the state belongs to other weights than this model's")
        .about({}, "fingerprint " + handle_->fingerprint, "fingerprint " + state.fingerprint);
  }
  const ModelInfo& model = handle_->info;
  if (!state.layout.has_shape_of(model.state) ||
      state.vocabulary != static_cast<std::uint32_t>(model.vocabulary) ||
      (state.logits != nullptr && state.logits->size() != static_cast<std::size_t>(model.vocabulary))) {
    throw Error("ERR_WKV_STATE", "the state does not have this model's layout");
  }
  return state;
}

Napi::Value Model::dispose(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto deferred = Napi::Promise::Deferred::New(env);
  if (handle_->engine == nullptr) {
    deferred.Resolve(env.Undefined());
    return deferred.Promise();
  }
  Environment& environment = Environment::of(env);
  Environment::Tasks end{[&environment, deferred](Napi::Env js) {
    if (js == nullptr) return;
    environment.end(js);
    deferred.Resolve(js.Undefined());
  }};
  std::function<void()> closed = [&environment, end = std::move(end)]() mutable { environment.post(end); };
  if (reported_bytes_ != 0) Napi::MemoryManagement::AdjustExternalMemory(env, -reported_bytes_);
  reported_bytes_ = 0;
  environment.begin(env);
  handle_->close(std::move(closed));
  return deferred.Promise();
}

}  // namespace wkv::addon
