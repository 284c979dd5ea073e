#include "addon/sampler.h"

#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/arrays.h"
#include "addon/guard.h"

namespace wkv::addon {

namespace {

// Throws a JavaScript error unless the tokens ascend and there is a count for each.
TokenCounts to_counts(Napi::Env env, const std::vector<std::uint32_t>& tokens,
                      const std::vector<double>& counts) {
  std::vector<TokenCounts::Entry> entries;
  for (std::size_t i = 0; i < tokens.size() && i < counts.size(); ++i) {
    if (i > 0 && tokens[i] <= tokens[i - 1]) break;
    entries.push_back({tokens[i], counts[i]});
  }
  if (entries.size() != tokens.size() || entries.size() != counts.size()) {
    throw Napi::TypeError::New(env, "tokens must ascend, with a count for each");
  }
  return TokenCounts::from(std::move(entries));
}

}  // namespace

Napi::Function Sampler::constructor(Napi::Env env) {
  return DefineClass(env, "Sampler", {method<&Sampler::sample>("sample"), method<&Sampler::state>("state")});
}

Sampler::Sampler(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Sampler>(info) {
  guarded(info.Env(), [&] {
    sampling_ = to_sampling(info[0]);
    const Napi::Object state = require_object(info[1], "state");
    seed_ = require_bigint(state.Get("seed"), "seed");
    draws_ = require_bigint(state.Get("draws"), "draws");
    counts_ = to_counts(info.Env(), copy_of<std::uint32_t>(state.Get("tokens"), "tokens"),
                        copy_of<double>(state.Get("counts"), "counts"));
  });
}

Napi::Value Sampler::sample(const Napi::CallbackInfo& info) {
  // Copied, because the array's memory may be shared with a thread that changes it.
  const std::vector<float> logits = copy_of<float>(info[0], "logits");
  if (logits.size() > std::numeric_limits<std::int32_t>::max()) {
    throw Napi::RangeError::New(info.Env(), "too many logits");
  }
  const std::optional<Drawn> drawn = wkv::sample(logits, sampling_, counts_, uniform(seed_, draws_));
  if (!drawn) return info.Env().Undefined();
  counts_.count(drawn->token, sampling_.penalty_decay, sampling_.is_exempt(drawn->token));
  draws_ += 1;
  return Napi::Number::New(info.Env(), drawn->token);
}

Napi::Value Sampler::state(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto entries = counts_.entries();
  Napi::Uint32Array tokens = new_array<std::uint32_t>(env, entries.size());
  Napi::Float64Array counts = new_array<double>(env, entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    tokens[i] = entries[i].token;
    counts[i] = entries[i].count;
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("seed", Napi::BigInt::New(env, seed_));
  object.Set("draws", Napi::BigInt::New(env, draws_));
  object.Set("tokens", tokens);
  object.Set("counts", counts);
  return object;
}

}  // namespace wkv::addon
