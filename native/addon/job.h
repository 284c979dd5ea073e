#pragma once

// Long work on a thread of its own that tells how far it is and can be called off.

#include <napi.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "addon/environment.h"
#include "addon/guard.h"

namespace wkv::addon {

// Everything of JavaScript's in it is used and freed on the JavaScript thread only.
template <class Result>
struct Job {
  using Clock = std::chrono::steady_clock;

  explicit Job(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}

  // At most twenty reports a second, and always the last one.
  bool is_due(std::uint64_t completed, std::uint64_t total) {
    if (completed == total) return true;
    const Clock::rep now = Clock::now().time_since_epoch().count();
    Clock::rep last = last_report.load();
    constexpr auto kPause =
        std::chrono::duration_cast<Clock::duration>(std::chrono::milliseconds{50}).count();
    return now - last > kPause && last_report.compare_exchange_strong(last, now);
  }

  Napi::Promise::Deferred deferred;
  Napi::FunctionReference on_progress;
  std::atomic<bool> cancelled{false};
  std::atomic<Clock::rep> last_report{0};

  std::optional<Result> result;  // none without an error: it was called off
  Caught caught;
};

// Runs work(cancelled, progress), which may throw Error, Cancelled or std::bad_alloc. Returns
// { promise: of what `convert` makes of the result, or of undefined if it was called off; cancel() }.
template <class Result, class Work, class Convert>
Napi::Object start_job(Napi::Env env, const Napi::Value& on_progress, Work work, Convert convert) {
  auto job = std::make_shared<Job<Result>>(env);
  if (on_progress.IsFunction()) job->on_progress = Napi::Persistent(on_progress.As<Napi::Function>());

  const auto attempt = [work](Job<Result>& own, const LoadProgress& progress) {
    try {
      own.result = work(own.cancelled, progress);
    } catch (const Cancelled&) {
      own.result.reset();
    } catch (...) {
      own.caught.note();
    }
  };
  const auto settle = [convert](Napi::Env js, Job<Result>& own) {
    // What it closes over holds `cancel`, which holds the job: together they would stay for ever.
    own.on_progress.Reset();
    settle_promise(own.deferred, [&]() -> Napi::Value {
      own.caught.throw_again();
      return own.result ? convert(js, std::move(*own.result)) : js.Undefined();
    });
  };

  Environment& environment = Environment::of(env);
  const auto weak = std::weak_ptr(job);
  Environment::Tasks end{[&environment, weak, settle](Napi::Env js) {
    const auto shared = weak.lock();
    if (js == nullptr || shared == nullptr) return;
    environment.end(js);
    settle(js, *shared);
  }};
  environment.begin(env);
  // Only the JavaScript thread holds the job, so that it is the one that frees it: `cancel` keeps it until
  // the work has ended.
  try {
    environment.run_in_background(
        [job] { job->cancelled.store(true); },
        [&environment, weak, raw = job.get(), attempt, end = std::move(end)]() mutable {
          attempt(*raw, [&environment, raw, weak](std::uint64_t completed, std::uint64_t total) {
            if (!raw->is_due(completed, total)) return;
            Environment::Tasks report{[weak, completed, total](Napi::Env js) {
              const auto shared = weak.lock();
              if (js == nullptr || shared == nullptr || shared->on_progress.IsEmpty()) return;
              shared->on_progress.Call({Napi::Number::New(js, static_cast<double>(completed)),
                                        Napi::Number::New(js, static_cast<double>(total))});
            }};
            environment.post(report);
          });
          environment.post(end);
        });
  } catch (const Error& error) {
    environment.end(env);
    job->on_progress.Reset();
    job->deferred.Reject(to_javascript(env, error).Value());
  } catch (...) {
    environment.end(env);
    job->on_progress.Reset();
    throw;
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("promise", job->deferred.Promise());
  result.Set("cancel",
             Napi::Function::New(env, [job](const Napi::CallbackInfo&) { job->cancelled.store(true); }));
  return result;
}

}  // namespace wkv::addon
