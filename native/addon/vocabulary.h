#pragma once

#include <napi.h>

#include <memory>

#include "tokenizer/trie.h"

namespace wkv::addon {

// JavaScript's `new Vocabulary(bytes: Uint8Array, offsets: Uint32Array)`: a trie that encodes on the calling
// thread; `size` is its number of ids. What is wrong with a vocabulary is an Error with the code
// ERR_WKV_FORMAT, text that it cannot encode one with ERR_WKV_TOKEN.
class Vocabulary : public Napi::ObjectWrap<Vocabulary> {
 public:
  static Napi::Function constructor(Napi::Env env);

  explicit Vocabulary(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  Napi::Value encode(const Napi::CallbackInfo& info);
  Napi::Value encode_async(const Napi::CallbackInfo& info);

  std::shared_ptr<const Trie> trie_;  // shared with whoever encodes on another thread
};

// Adds the class `Vocabulary` to the addon's exports.
void init_vocabulary(Napi::Env env, Napi::Object exports);

}  // namespace wkv::addon
