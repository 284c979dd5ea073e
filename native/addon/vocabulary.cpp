#include "addon/vocabulary.h"

#include <cstdint>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "addon/arguments.h"
#include "addon/arrays.h"
#include "addon/background.h"
#include "addon/guard.h"

namespace wkv::addon {

namespace {

std::string hexadecimal(std::uint8_t byte) {
  constexpr const char* kDigits = "0123456789abcdef";
  return std::string("0x") + kDigits[byte >> 4] + kDigits[byte & 15];
}

}  // namespace

Napi::Function Vocabulary::constructor(Napi::Env env) {
  return DefineClass(
      env, "Vocabulary",
      {method<&Vocabulary::encode>("encode"), method<&Vocabulary::encode_async>("encodeAsync")});
}

Vocabulary::Vocabulary(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Vocabulary>(info) {
  const Napi::Env env = info.Env();
  trie_ = guarded(env, [&] {
    // Copied first: the memory of a typed array may be shared with another thread that writes to it.
    const auto bytes = copy_of<std::uint8_t>(info[0], "bytes");
    const auto offsets = copy_of<std::uint32_t>(info[1], "offsets");
    try {
      return std::make_shared<const Trie>(Trie::build(bytes, offsets));
    } catch (const std::invalid_argument& error) {
      throw Error("ERR_WKV_FORMAT", error.what());
    }
  });
  // A property of its own: unlike a method, an accessor on the prototype could be called on any object.
  info.This().As<Napi::Object>().DefineProperty(Napi::PropertyDescriptor::Value(
      "size", Napi::Number::New(env, static_cast<double>(trie_->size())), napi_enumerable));
  Napi::MemoryManagement::AdjustExternalMemory(env, static_cast<std::int64_t>(trie_->memory()));
}

void Vocabulary::Finalize(Napi::BasicEnv env) {
  if (trie_) {
    Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<std::int64_t>(trie_->memory()));
  }
}

namespace {

// Throws ERR_WKV_TOKEN, ERR_WKV_MEMORY.
std::vector<std::uint32_t> encode_all(const Trie& trie, std::span<const std::uint8_t> text) {
  std::vector<std::uint32_t> tokens;
  try {
    tokens.reserve(text.size() / 3 + 1);
    const std::size_t encoded = trie.encode(text, tokens);
    if (encoded < text.size()) {
      throw Error("ERR_WKV_TOKEN", "no token of the vocabulary begins with byte " +
                                       hexadecimal(text[encoded]) + ", at offset " + std::to_string(encoded) +
                                       " of the text");
    }
  } catch (const std::bad_alloc&) {
    throw Error("ERR_WKV_MEMORY",
                "not enough memory for the tokens of a text of " + std::to_string(text.size()) + " bytes");
  }
  return tokens;
}

}  // namespace

Napi::Value Vocabulary::encode(const Napi::CallbackInfo& info) {
  return to_array(info.Env(), encode_all(*trie_, elements_of<std::uint8_t>(info[0], "text")));
}

Napi::Value Vocabulary::encode_async(const Napi::CallbackInfo& info) {
  return in_background(
      info.Env(),
      [trie = trie_, text = copy_of<std::uint8_t>(info[0], "text")] { return encode_all(*trie, text); },
      to_array<std::uint32_t>);
}

void init_vocabulary(Napi::Env env, Napi::Object exports) {
  exports.Set("Vocabulary", Vocabulary::constructor(env));
}

}  // namespace wkv::addon
