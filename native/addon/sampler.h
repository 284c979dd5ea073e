#pragma once

#include <napi.h>

#include <cstdint>

#include "engine/sampler.h"
#include "engine/token_counts.h"

namespace wkv::addon {

// JavaScript's Sampler: options, counts of the tokens that it drew, and its random numbers.
class Sampler : public Napi::ObjectWrap<Sampler> {
 public:
  static Napi::Function constructor(Napi::Env env);

  // new Sampler(sampling, { seed, draws, tokens, counts })
  explicit Sampler(const Napi::CallbackInfo& info);

 private:
  // sample(logits): a token, counted; undefined, and nothing has changed, if there is none to draw.
  Napi::Value sample(const Napi::CallbackInfo& info);
  // { seed, draws, tokens, counts }: what continues this one.
  Napi::Value state(const Napi::CallbackInfo& info);

  Sampling sampling_;
  TokenCounts counts_;
  std::uint64_t seed_ = 0;
  std::uint64_t draws_ = 0;
};

}  // namespace wkv::addon
