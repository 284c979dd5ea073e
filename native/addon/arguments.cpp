#include "addon/arguments.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <utility>

#include "addon/arrays.h"
#include "engine/cuda_library.h"

namespace wkv::addon {

namespace {

constexpr std::int64_t kMaxExact = (std::int64_t{1} << 53) - 1;  // up to here doubles have all whole numbers

[[noreturn]] void refuse(Napi::Env env, const std::string& what) {
  Napi::TypeError error = Napi::TypeError::New(env, what);
  error.Set("code", "ERR_INVALID_ARG_TYPE");
  throw error;
}

Napi::Array require_array(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) refuse(value.Env(), std::string(name) + " must be an array");
  return value.As<Napi::Array>();
}

double number_of(const Napi::Value& value) {
  return value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
}

std::vector<std::int64_t> require_integers(const Napi::Value& value, const char* name) {
  const Napi::Array array = require_array(value, name);
  std::vector<std::int64_t> numbers;
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    numbers.push_back(require_integer(array.Get(i), name, -kMaxExact, kMaxExact));
  }
  return numbers;
}

Applied require_applied(const Napi::Value& value, const char* name) {
  const std::string text = require_string(value, name);
  for (const Applied applied : {Applied::kExp, Applied::kNegativeExp, Applied::kExpOfNegativeExp}) {
    if (text == name_of(applied)) return applied;
  }
  refuse(value.Env(), std::string(name) + " must be 'exp', '-exp' or 'exp(-exp)'");
}

}  // namespace

Napi::Error to_javascript(Napi::Env env, const Error& error) {
  Napi::Error result = Napi::Error::New(env, error.message);
  result.Set("code", error.code);
  const auto detail = [&](const char* name, const std::string& text) {
    if (!text.empty()) result.Set(name, text);
  };
  detail("path", error.path);
  detail("tensor", error.tensor);
  detail("expected", error.expected);
  detail("found", error.found);
  return result;
}

std::string require_string(const Napi::Value& value, const char* name) {
  if (!value.IsString()) refuse(value.Env(), std::string(name) + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}

StoredType require_type(const Napi::Value& value, const char* name) {
  const std::string text = require_string(value, name);
  for (int i = 0; i < kStoredTypes; ++i) {
    const auto type = static_cast<StoredType>(i);
    if (text == name_of(type)) return type;
  }
  refuse(value.Env(), std::string(name) + " must be a type that weights are stored in");
}

Precision require_precision(const Napi::Value& value, const char* name) {
  const std::string text = require_string(value, name);
  for (const Precision precision :
       {Precision::kF32, Precision::kF16, Precision::kBf16, Precision::kInt8, Precision::kInt4}) {
    if (text == name_of(precision)) return precision;
  }
  refuse(value.Env(), std::string(name) + " must be 'f32', 'f16', 'bf16', 'int8' or 'int4'");
}

Napi::Object require_object(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) refuse(value.Env(), std::string(name) + " must be an object");
  return value.As<Napi::Object>();
}

double require_number(const Napi::Value& value, const char* name, double lowest, double highest) {
  const double number = number_of(value);
  if (!(number >= lowest && number <= highest)) {
    std::array<char, 64> range{};
    static_cast<void>(std::snprintf(range.data(), range.size(), "%g to %g", lowest, highest));
    refuse(value.Env(), std::string(name) + " must be a number from " + range.data());
  }
  return number;
}

std::int64_t require_integer(const Napi::Value& value, const char* name, std::int64_t lowest,
                             std::int64_t highest) {
  const double number = number_of(value);
  const bool fits = number >= static_cast<double>(lowest) && number <= static_cast<double>(highest);
  if (!fits || std::trunc(number) != number) {
    refuse(value.Env(), std::string(name) + " must be an integer from " + std::to_string(lowest) + " to " +
                            std::to_string(highest));
  }
  return static_cast<std::int64_t>(number);
}

std::uint64_t require_size(const Napi::Value& value, const char* name) {
  return static_cast<std::uint64_t>(require_integer(value, name, 0, kMaxExact));
}

std::uint64_t require_bigint(const Napi::Value& value, const char* name) {
  if (!value.IsBigInt()) refuse(value.Env(), std::string(name) + " must be a bigint");
  bool lossless = false;
  return value.As<Napi::BigInt>().Uint64Value(&lossless);
}

template <class Element>
std::span<Element> elements_of(const Napi::Value& value, const char* name) {
  constexpr ArrayType kType = array_type<Element>();
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != kType.type) {
    refuse(value.Env(), std::string(name) + " must be of the type " + kType.name);
  }
  auto array = value.As<Napi::TypedArrayOf<Element>>();
  return array.ElementLength() == 0 ? std::span<Element>{}
                                    : std::span<Element>{array.Data(), array.ElementLength()};
}

template std::span<std::int8_t> elements_of(const Napi::Value& value, const char* name);
template std::span<std::uint8_t> elements_of(const Napi::Value& value, const char* name);
template std::span<std::uint32_t> elements_of(const Napi::Value& value, const char* name);
template std::span<float> elements_of(const Napi::Value& value, const char* name);
template std::span<double> elements_of(const Napi::Value& value, const char* name);

namespace {

TokenSet to_token_set(const Napi::Value& value, const char* name) {
  std::vector<std::uint32_t> ids = copy_of<std::uint32_t>(value, name);
  if (ids.empty()) return nullptr;
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return std::make_shared<const std::vector<std::uint32_t>>(std::move(ids));
}

std::array<SamplingStep, 5> to_order(const Napi::Value& value) {
  const std::vector<std::uint32_t> steps = copy_of<std::uint32_t>(value, "order");
  std::array<SamplingStep, 5> order{};
  std::array<bool, 5> seen{};
  if (steps.size() != order.size()) refuse(value.Env(), "order must have five steps");
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (steps[i] >= seen.size() || seen[steps[i]]) refuse(value.Env(), "order must name each step once");
    seen[steps[i]] = true;
    order[i] = static_cast<SamplingStep>(steps[i]);
  }
  return order;
}

std::shared_ptr<const std::vector<TokenBias>> to_bias(const Napi::Object& object) {
  const std::vector<std::uint32_t> tokens = copy_of<std::uint32_t>(object.Get("biasTokens"), "biasTokens");
  const std::vector<float> values = copy_of<float>(object.Get("biasValues"), "biasValues");
  if (tokens.size() != values.size()) refuse(object.Env(), "biasTokens and biasValues must be equally long");
  if (tokens.empty()) return nullptr;
  std::vector<TokenBias> bias;
  for (std::size_t i = 0; i < tokens.size(); ++i) bias.push_back({tokens[i], values[i]});
  std::sort(bias.begin(), bias.end(),
            [](const TokenBias& a, const TokenBias& b) { return a.token < b.token; });
  return std::make_shared<const std::vector<TokenBias>>(std::move(bias));
}

}  // namespace

Sampling to_sampling(const Napi::Value& value) {
  const Napi::Object object = require_object(value, "sampling");
  const auto number = [&](const char* name, double lowest, double highest) {
    return require_number(object.Get(name), name, lowest, highest);
  };
  return {
      .temperature = number("temperature", 0, 1e6),
      .top_p = number("topP", 0, 1),
      .top_k = static_cast<std::uint32_t>(number("topK", 0, 4294967295.0)),
      .min_p = number("minP", 0, 1),
      .typical_p = number("typicalP", 0, 1),
      .order = to_order(object.Get("order")),
      .presence_penalty = number("presencePenalty", -1e6, 1e6),
      .frequency_penalty = number("frequencyPenalty", -1e6, 1e6),
      .penalty_decay = number("penaltyDecay", 0, 1),
      .exempt = to_token_set(object.Get("exempt"), "exempt"),
      .forbidden = to_token_set(object.Get("forbidden"), "forbidden"),
      .bias = to_bias(object),
      .logprobs = static_cast<std::uint32_t>(number("logprobs", 0, 1e6)),
  };
}

namespace {

TensorEntry to_tensor(const Napi::Object& object) {
  TensorEntry tensor{
      .name = require_string(object.Get("name"), "name"),
      .shape = require_integers(object.Get("shape"), "shape"),
      .file = static_cast<std::uint32_t>(require_integer(object.Get("file"), "file", 0, 1'000'000)),
      .offset = require_size(object.Get("offset"), "offset"),
  };
  if (require_string(object.Get("type"), "type") != "packed") {
    tensor.type = require_type(object.Get("type"), "type");
    tensor.strides = require_integers(object.Get("strides"), "strides");
    const Napi::Value applied = object.Get("applied");
    if (!applied.IsUndefined()) tensor.applied = require_applied(applied, "applied");
    const Napi::Value scale = object.Get("scale");
    if (!scale.IsUndefined()) {
      constexpr double kMax = std::numeric_limits<float>::max();
      tensor.scale = static_cast<float>(require_number(scale, "scale", 0, kMax));
    }
  } else {
    tensor.packed = {.bytes = require_size(object.Get("bytes"), "bytes"),
                     .group = static_cast<int>(require_integer(object.Get("group"), "group", 0, 1 << 30)),
                     .precision = require_precision(object.Get("weights"), "weights")};
  }
  return tensor;
}

}  // namespace

TensorDirectory to_directory(const Napi::Value& value) {
  const Napi::Object object = require_object(value, "directory");
  TensorDirectory directory;
  const Napi::Array files = require_array(object.Get("files"), "files");
  for (std::uint32_t i = 0; i < files.Length(); ++i) {
    const Napi::HandleScope scope(value.Env());
    const Napi::Object file = require_object(files.Get(i), "file");
    directory.files.push_back({
        .path = require_string(file.Get("path"), "path"),
        .size = require_size(file.Get("size"), "size"),
        .device = require_bigint(file.Get("device"), "device"),
        .inode = require_bigint(file.Get("inode"), "inode"),
        .modified_ns = static_cast<std::int64_t>(require_bigint(file.Get("modifiedNs"), "modifiedNs")),
        .temporary = file.Get("temporary").ToBoolean(),
    });
  }
  const Napi::Array tensors = require_array(object.Get("tensors"), "tensors");
  for (std::uint32_t i = 0; i < tensors.Length(); ++i) {
    const Napi::HandleScope scope(value.Env());
    directory.tensors.push_back(to_tensor(require_object(tensors.Get(i), "tensor")));
  }
  if (const Napi::Value packed = object.Get("packed"); !packed.IsUndefined()) {
    const Napi::Object model = require_object(packed, "packed");
    directory.packed = {.weights = require_precision(model.Get("weights"), "weights"),
                        .fingerprint = require_string(model.Get("fingerprint"), "fingerprint")};
  }
  return directory;
}

LoadOptions to_load_options(const Napi::Value& value) {
  const Napi::Object object = require_object(value, "options");
  LoadOptions options;
  const Napi::Value weights = object.Get("weights");
  if (!weights.IsUndefined()) options.weights = require_precision(weights, "weights");
  const Napi::Value epsilon = object.Get("groupNormEpsilon");
  if (!epsilon.IsUndefined()) {
    options.group_norm_epsilon = static_cast<float>(require_number(epsilon, "groupNormEpsilon", 0, 1));
  }
  const Napi::Value mmap = object.Get("mmap");
  if (!mmap.IsUndefined()) options.mmap = mmap.ToBoolean();
  const CudaTarget target = to_cuda_target(object.Get("cuda"));
  options.cuda = target.api;
  options.cuda_device = target.device;
  options.only_shared = object.Get("onlyShared").ToBoolean();
  return options;
}

CudaTarget to_cuda_target(const Napi::Value& value) {
  if (value.IsUndefined()) return {};
  const Napi::Object target = require_object(value, "cuda");
  return {&open_cuda(target.Get("library")),
          static_cast<int>(require_integer(target.Get("device"), "device", 0, 999))};
}

const WkvCudaApi& open_cuda(const Napi::Value& path) {
  return open_cuda_library(require_string(path, "library"));
}

unsigned to_threads(const Napi::Object& options) {
  return static_cast<unsigned>(require_integer(options.Get("threads"), "threads", 1, ThreadPool::kMaxLanes));
}

Napi::Object to_javascript(Napi::Env env, const ModelInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("architecture", info.architecture);
  object.Set("version", info.version);
  object.Set("layers", info.layers);
  object.Set("embedding", info.embedding);
  object.Set("heads", info.heads);
  object.Set("headSize", info.head_size);
  object.Set("feedForward", info.feed_forward);
  object.Set("vocabulary", info.vocabulary);
  object.Set("parameters", static_cast<double>(info.parameters));
  object.Set("weights", name_of(info.weights));
  object.Set("weightBytes", static_cast<double>(info.weight_bytes));
  return object;
}

}  // namespace wkv::addon
