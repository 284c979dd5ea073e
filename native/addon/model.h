#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <optional>

#include "addon/environment.h"
#include "engine/engine.h"
#include "engine/model_loader.h"
#include "engine/state.h"

namespace wkv::addon {

struct ModelOptions {
  unsigned threads = 1;
  std::size_t max_batch = 1;  // sessions of one step
  bool pack_states = false;   // between calls; see SessionState::pack
};

// A model as its JavaScript objects share it. `loaded` and `engine` are null once it is disposed.
struct ModelHandle {
  ModelHandle(Napi::Env env, std::shared_ptr<const LoadedModel> model, const ModelOptions& options);
  ~ModelHandle();

  // Ends the engine and lets the weights go, on another thread: the engine's current layer and unmapping take
  // time. Then calls `closed`, there. Where there is no other thread it takes this one.
  void close(std::function<void()> closed);

  // A state whose numbers are yet to be written. Throws std::bad_alloc.
  SessionState blank_state(std::uint64_t seed) const;

  // The state of a session that has seen nothing, whose numbers all of them share. Throws std::bad_alloc.
  SessionState fresh_state(std::uint64_t seed);

  ModelInfo info;
  std::string fingerprint;
  std::shared_ptr<const LoadedModel> loaded;
  std::unique_ptr<Engine> engine;
  const bool pack_states;

 private:
  // What close() hands to another thread.
  struct Remains {
    std::unique_ptr<Engine> engine;
    std::shared_ptr<const LoadedModel> loaded;
    std::optional<SessionState> fresh;
    std::function<void()> closed;
  };

  const std::shared_ptr<Remains> remains_ = std::make_shared<Remains>();
  Environment& environment_;
  std::shared_ptr<Environment::Engines> engines_;
  std::optional<SessionState> fresh_;  // from the first session on
};

// JavaScript's Model: { info(), statistics(), createSession(state, seed), importState(values, seed),
// dispose() }.
class Model : public Napi::ObjectWrap<Model> {
 public:
  static Napi::Function constructor(Napi::Env env);
  static Napi::Object create(Napi::Env env, std::shared_ptr<const LoadedModel> loaded,
                             const ModelOptions& options);

  explicit Model(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value create_session(const Napi::CallbackInfo& info);
  void require_usable() const;
  const SessionState& own_state(const Napi::Value& value) const;
  Napi::Value require_own_state(const Napi::CallbackInfo& info);
  Napi::Value import_state(const Napi::CallbackInfo& info);
  Napi::Value statistics(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<ModelHandle> handle_;
  std::int64_t reported_bytes_ = 0;
};

}  // namespace wkv::addon
