#pragma once

// Work that other threads do for a promise.

#include <napi.h>

#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "addon/environment.h"
#include "addon/guard.h"

namespace wkv::addon {

// Work, wherever it runs: its result, or why there is none.
template <class Result>
struct Outcome {
  std::optional<Result> result;
  std::optional<Error> error;
};

template <class Work>
auto attempt(Work&& work) -> Outcome<decltype(work())> {
  try {
    return {work(), {}};
  } catch (const Error& error) {
    return {{}, error};
  } catch (const std::bad_alloc&) {
    return {{}, Error("ERR_WKV_MEMORY", "there is not enough memory")};
  }
}

// Runs `work` on another thread when its turn comes; the promise is resolved with what `convert` makes of its
// result.
template <class Work, class Convert>
Napi::Value in_background(Napi::Env env, Work work, Convert convert) {
  Environment& environment = Environment::of(env);
  const auto deferred = Napi::Promise::Deferred::New(env);
  environment.begin(env);
  try {
    environment.run_in_turn([&environment, deferred, work = std::move(work), convert] {
      auto outcome = std::make_shared<decltype(attempt(work))>(attempt(work));
      environment.post([&environment, deferred, convert, outcome](Napi::Env js) {
        if (js == nullptr) return;
        environment.end(js);
        settle_promise(deferred, [&]() -> Napi::Value {
          if (outcome->error) throw Error(*outcome->error);
          return convert(js, std::move(*outcome->result));
        });
      });
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
