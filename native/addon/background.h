#pragma once

// Work that other threads do for a promise.

#include <napi.h>

#include <memory>
#include <optional>
#include <utility>

#include "addon/environment.h"
#include "addon/guard.h"

namespace wkv::addon {

// Work, wherever it runs: its result, or what it threw.
template <class Result>
struct Outcome {
  std::optional<Result> result;
  Caught caught;
};

// Runs `work` on another thread when its turn comes; the promise is resolved with what `convert` makes of its
// result.
template <class Work, class Convert>
Napi::Value in_background(Napi::Env env, Work work, Convert convert) {
  Environment& environment = Environment::of(env);
  const auto deferred = Napi::Promise::Deferred::New(env);
  auto outcome = std::make_shared<Outcome<decltype(work())>>();
  Environment::Tasks end{[&environment, deferred, convert, outcome](Napi::Env js) {
    if (js == nullptr) return;
    environment.end(js);
    settle_promise(deferred, [&]() -> Napi::Value {
      outcome->caught.throw_again();
      return convert(js, std::move(*outcome->result));
    });
  }};
  environment.begin(env);
  try {
    environment.run_in_turn([&environment, work = std::move(work), outcome, end = std::move(end)]() mutable {
      try {
        outcome->result = work();
      } catch (...) {
        outcome->caught.note();
      }
      environment.post(end);
    });
  } catch (const Error& error) {
    environment.end(env);
    deferred.Reject(to_javascript(env, error).Value());
  } catch (...) {
    environment.end(env);
    throw;
  }
  return deferred.Promise();
}

}  // namespace wkv::addon
