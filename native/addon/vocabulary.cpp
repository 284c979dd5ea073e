#include "addon/vocabulary.h"

#include <cstdint>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "addon/arrays.h"
#include "addon/background.h"
#include "addon/guard.h"

namespace wkv::addon {

namespace {

constexpr napi_type_tag kVocabularyTag = {0x1d1f0a4c5b7e4e19, 0x9c3a62f80d5be7a4};

template <typename Error>
Error with_code(Error error, const char* code) {
  error.Set("code", code);
  return error;
}

[[noreturn]] void fail(Napi::Env env, const char* code, const std::string& message) {
  throw with_code(Napi::Error::New(env, message), code);
}

// The elements of an argument that must be a typed array of the type `type`, whose elements are T.
template <typename T>
std::span<const T> elements(const Napi::CallbackInfo& info, std::size_t index, napi_typedarray_type type,
                            const char* expected) {
  const Napi::Value value = info[index];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    throw with_code(Napi::TypeError::New(info.Env(), std::string("expected ") + expected),
                    "ERR_INVALID_ARG_TYPE");
  }
  const auto array = value.As<Napi::TypedArrayOf<T>>();
  return array.ElementLength() == 0 ? std::span<const T>()
                                    : std::span<const T>(array.Data(), array.ElementLength());
}

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

Vocabulary* Vocabulary::from(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kVocabularyTag)) {
    return nullptr;
  }
  return Unwrap(value.As<Napi::Object>());
}

Vocabulary::Vocabulary(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Vocabulary>(info) {
  const Napi::Env env = info.Env();
  const auto bytes = elements<std::uint8_t>(info, 0, napi_uint8_array, "a Uint8Array of the tokens' bytes");
  const auto offsets = elements<std::uint32_t>(info, 1, napi_uint32_array, "a Uint32Array of offsets");
  try {
    // Copied first: the memory of a typed array may be shared with another thread that writes to it.
    const std::vector<std::uint8_t> bytes_copy(bytes.begin(), bytes.end());
    const std::vector<std::uint32_t> offsets_copy(offsets.begin(), offsets.end());
    trie_ = std::make_shared<const Trie>(Trie::build(bytes_copy, offsets_copy));
  } catch (const std::invalid_argument& error) {
    fail(env, "ERR_WKV_FORMAT", error.what());
  } catch (const std::bad_alloc&) {
    fail(env, "ERR_WKV_MEMORY", "not enough memory for the trie of the vocabulary");
  }
  Napi::Object self = info.This().As<Napi::Object>();
  self.TypeTag(&kVocabularyTag);
  // A property of its own: unlike a method, an accessor on the prototype could be called on any object.
  self.DefineProperty(Napi::PropertyDescriptor::Value(
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
      throw wkv::Error("ERR_WKV_TOKEN", "no token of the vocabulary begins with byte " +
                                            hexadecimal(text[encoded]) + ", at offset " +
                                            std::to_string(encoded) + " of the text");
    }
  } catch (const std::bad_alloc&) {
    throw wkv::Error("ERR_WKV_MEMORY", "not enough memory for the tokens of a text of " +
                                           std::to_string(text.size()) + " bytes");
  }
  return tokens;
}

}  // namespace

Napi::Value Vocabulary::encode(const Napi::CallbackInfo& info) {
  const auto text = elements<std::uint8_t>(info, 0, napi_uint8_array, "a Uint8Array of text");
  return to_array(info.Env(), encode_all(*trie_, text));
}

Napi::Value Vocabulary::encode_async(const Napi::CallbackInfo& info) {
  const auto text = elements<std::uint8_t>(info, 0, napi_uint8_array, "a Uint8Array of text");
  return in_background(
      info.Env(),
      [trie = trie_, copy = std::vector<std::uint8_t>(text.begin(), text.end())] {
        return encode_all(*trie, copy);
      },
      to_array<std::uint32_t>);
}

void init_vocabulary(Napi::Env env, Napi::Object exports) {
  exports.Set("Vocabulary", Vocabulary::constructor(env));
}

}  // namespace wkv::addon
