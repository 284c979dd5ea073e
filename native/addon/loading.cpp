// inspectModel, loadModel and features: from a tensor directory to a Model.

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <system_error>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/model.h"
#include "backend/cpu/cpu_features.h"

namespace wkv::addon {

namespace {

using Clock = std::chrono::steady_clock;

// A load on its way; everything of JavaScript's in it is used and freed on the JavaScript thread only.
struct Load {
  explicit Load(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}

  Napi::Promise::Deferred deferred;
  Napi::FunctionReference on_progress;
  std::atomic<bool> cancelled{false};
  std::atomic<Clock::rep> last_report{0};

  std::shared_ptr<const LoadedModel> loaded;
  std::optional<Error> error;
  bool was_cancelled = false;
};

// At most twenty reports a second, and always the last one.
bool is_due(Load& load, std::uint64_t completed, std::uint64_t total) {
  if (completed == total) return true;
  const Clock::rep now = Clock::now().time_since_epoch().count();
  Clock::rep last = load.last_report.load();
  constexpr auto kPause = std::chrono::duration_cast<Clock::duration>(std::chrono::milliseconds{50}).count();
  return now - last > kPause && load.last_report.compare_exchange_strong(last, now);
}

void read_model(Load& load, const TensorDirectory& directory, const LoadOptions& options, unsigned threads,
                const LoadProgress& progress) {
  try {
    load.loaded = load_model(directory, options, threads, load.cancelled, progress);
    // Called off in the last moment: the caller must not get what he no longer wants.
    load.was_cancelled = load.cancelled.load();
  } catch (const Error& error) {
    load.error = error;
  } catch (const Cancelled&) {
    load.was_cancelled = true;
  } catch (const std::bad_alloc&) {
    load.error = Error("ERR_WKV_MEMORY", "there is not enough memory for the model's weights");
  } catch (const std::exception& error) {
    load.error = Error("ERR_WKV_MEMORY", std::string("the model could not be loaded: ") + error.what());
  }
}

void settle(Napi::Env env, Load& load, const ModelOptions& options) {
  if (load.was_cancelled) {
    load.deferred.Resolve(env.Undefined());
  } else if (load.error) {
    load.deferred.Reject(to_javascript(env, *load.error).Value());
  } else {
    try {
      load.deferred.Resolve(Model::create(env, std::move(load.loaded), options));
    } catch (const std::bad_alloc&) {
      const Error error("ERR_WKV_MEMORY", "there is not enough memory for the model's buffers");
      load.deferred.Reject(to_javascript(env, error).Value());
    } catch (const std::system_error& reason) {
      const Error error("ERR_WKV_MEMORY", std::string("the model can have no thread: ") + reason.what());
      load.deferred.Reject(to_javascript(env, error).Value());
    }
  }
}

// loadModel(directory, { weights?, groupNormEpsilon?, threads, maxBatch, resting }, onProgress?):
// { promise of Model, or of undefined if cancelled; cancel() }
Napi::Value load_model_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto directory = std::make_shared<const TensorDirectory>(to_directory(info[0]));
  const LoadOptions options = to_load_options(info[1]);
  const Napi::Object object = info[1].As<Napi::Object>();
  const ModelOptions model{
      .threads =
          static_cast<unsigned>(require_number(object.Get("threads"), "threads", 1, ThreadPool::kMaxLanes)),
      .max_batch = static_cast<std::size_t>(require_number(object.Get("maxBatch"), "maxBatch", 1, 1e6)),
      .resting = object.Get("resting").ToBoolean()};
  auto load = std::make_shared<Load>(env);
  if (info[2].IsFunction()) load->on_progress = Napi::Persistent(info[2].As<Napi::Function>());

  Environment& environment = Environment::of(env);
  environment.begin(env);
  // The closures below pass `load` on to the JavaScript thread, which drops the last reference.
  try {
    environment.run_in_background(
        [load] { load->cancelled.store(true); },
        [&environment, weak = std::weak_ptr(load), directory, options, model] {
          Load* raw = nullptr;
          if (const auto shared = weak.lock()) raw = shared.get();
          const LoadProgress progress = [&environment, raw, weak](std::uint64_t completed,
                                                                  std::uint64_t total) {
            if (!is_due(*raw, completed, total)) return;
            environment.post([weak, completed, total](Napi::Env js) {
              const auto shared = weak.lock();
              if (js == nullptr || shared == nullptr || shared->on_progress.IsEmpty()) return;
              shared->on_progress.Call({Napi::Number::New(js, static_cast<double>(completed)),
                                        Napi::Number::New(js, static_cast<double>(total))});
            });
          };
          read_model(*raw, *directory, options, model.threads, progress);
          environment.post([&environment, weak, model](Napi::Env js) {
            const auto shared = weak.lock();
            if (js == nullptr || shared == nullptr) return;
            environment.end(js);
            settle(js, *shared, model);
          });
        });
  } catch (const Error& error) {
    environment.end(env);
    load->deferred.Reject(to_javascript(env, error).Value());
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("promise", load->deferred.Promise());
  result.Set("cancel",
             Napi::Function::New(env, [load](const Napi::CallbackInfo&) { load->cancelled.store(true); }));
  return result;
}

Napi::Value inspect_model_call(const Napi::CallbackInfo& info) {
  try {
    const TensorDirectory directory = to_directory(info[0]);
    const LoadOptions options = to_load_options(info[1]);
    const ModelInfo model = inspect_model(directory, options);
    Napi::Object result = to_javascript(info.Env(), model);
    result.Set("stateBytes", static_cast<double>(model.state.numbers() * sizeof(float)));
    result.Set("loaded", is_loaded(directory, options));
    return result;
  } catch (const Error& error) {
    throw to_javascript(info.Env(), error);
  }
}

Napi::Value features(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array isa = Napi::Array::New(env);
  std::uint32_t count = 0;
  for (const KernelTable* table : available_kernels()) isa.Set(count++, table->name);
  Napi::Object object = Napi::Object::New(env);
  object.Set("isa", isa);
  object.Set("selected", selected_kernels().name);
  object.Set("note", std::string(selection_note()));
  return object;
}

}  // namespace

void init_loading(Napi::Env env, Napi::Object exports) {
  exports.Set("flush", Napi::Function::New(
                           env, [](const Napi::CallbackInfo& info) { Environment::of(info.Env()).flush(); }));
  exports.Set("inspectModel", Napi::Function::New(env, inspect_model_call));
  exports.Set("loadModel", Napi::Function::New(env, load_model_call));
  exports.Set("features", Napi::Function::New(env, features));
}

}  // namespace wkv::addon
