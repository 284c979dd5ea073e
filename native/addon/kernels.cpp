#include "addon/kernels.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "addon/arguments.h"
#include "addon/background.h"
#include "addon/guard.h"
#include "backend/cpu/ceilings.h"
#include "backend/cpu/cpu_features.h"
#include "backend/cpu/denormals.h"
#include "engine/cuda_library.h"
#include "engine/matrix_product.h"

namespace wkv::addon {

namespace {

constexpr int kMaxRows = 1 << 24;

// The elements of a typed array that has exactly `size`; valid during the call.
template <class Element>
std::span<Element> view(const Napi::Object& object, const char* name, std::size_t size) {
  const std::span<Element> elements = elements_of<Element>(object.Get(name), name);
  if (elements.size() == size) return elements;
  throw Napi::TypeError::New(object.Env(), std::string(name) + " must have " + std::to_string(size) +
                                               " elements, not " + std::to_string(elements.size()));
}

int dimension(const Napi::Object& object, const char* name) {
  return static_cast<int>(require_integer(object.Get(name), name, 1, kMaxRows));
}

int group_of(const Napi::Object& object) {
  const auto group = static_cast<int>(require_integer(object.Get("group"), "group", kGroupStep, kMaxGroup));
  if (group % kGroupStep == 0) return group;
  throw Napi::TypeError::New(object.Env(), "group must be a multiple of " + std::to_string(kGroupStep));
}

std::size_t product(int a, int b) { return static_cast<std::size_t>(a) * static_cast<std::size_t>(b); }

// The same of more dimensions; a size that no array has where it would overflow.
std::size_t product(std::initializer_list<int> dimensions) {
  double exact = 1;
  for (const int dimension : dimensions) exact *= dimension;
  return exact < 0x1p53 ? static_cast<std::size_t>(exact) : SIZE_MAX;
}

// quantizeInt8({ matrix, rows, columns, group, values, scales }): fills values and scales.
Napi::Value quantize_int8(const Napi::CallbackInfo& info) {
  const Napi::Object object = require_object(info[0], "arguments");
  const int rows = dimension(object, "rows");
  const int columns = dimension(object, "columns");
  const int group = group_of(object);
  const int groups = (columns + group - 1) / group;
  const std::span<float> matrix = view<float>(object, "matrix", product(rows, columns));
  const auto values = view<std::int8_t>(object, "values", product(rows, columns));
  const std::span<float> scales = view<float>(object, "scales", product(rows, groups));
  const KernelTable& kernels = selected_kernels();
  std::vector<unsigned char> codes(static_cast<std::size_t>(group));
  for (int row = 0; row < rows; ++row) {
    for (int index = 0; index < groups; ++index) {
      const std::size_t begin = product(row, columns) + product(index, group);
      const int size = std::min(group, columns - index * group);
      scales[product(row, groups) + static_cast<std::size_t>(index)] =
          kernels.quantize_weights(matrix.data() + begin, size, codes.data());
      for (int i = 0; i < size; ++i) {
        values[begin + static_cast<std::size_t>(i)] =
            static_cast<std::int8_t>(codes[static_cast<std::size_t>(i)] - 128);
      }
    }
  }
  return info.Env().Undefined();
}

// A matrix of codes -127 to 127 (-128 is taken for -127) [rows][columns] and scales [rows][groups] in panels.
Matrix packed(std::span<const std::int8_t> values, std::span<const float> scales, int rows, int columns,
              int group) {
  Matrix weights(Precision::kInt8, rows, columns, group);
  const int groups = (columns + group - 1) / group;
  std::vector<unsigned char> codes(static_cast<std::size_t>(group));
  for (int row = 0; row < rows; ++row) {
    for (int index = 0; index < groups; ++index) {
      const std::size_t begin = product(row, columns) + product(index, group);
      const int size = std::min(group, columns - index * group);
      for (int i = 0; i < size; ++i) {
        const int value = std::max<int>(values[begin + static_cast<std::size_t>(i)], -kMaxCode);
        codes[static_cast<std::size_t>(i)] = static_cast<unsigned char>(value + 128);
      }
      weights.put_int8(row, index, codes.data(),
                       scales[product(row, groups) + static_cast<std::size_t>(index)]);
    }
  }
  return weights;
}

void multiply_on_cpu(const Matrix& weights, int tokens, const float* activations, unsigned threads,
                     float* output) {
  const auto columns = static_cast<std::size_t>(weights.columns);
  const auto rows = static_cast<std::size_t>(weights.rows);
  const auto most = static_cast<std::size_t>(std::min(tokens, kBlockTokens));
  MatrixScratch scratch(threads, most, weights.columns);
  Activation input(most, weights.columns);
  Activation result(most, weights.rows);
  const FlushDenormals flush;  // this thread multiplies too, and the pool's threads flush them
  for (int begin = 0; begin < tokens; begin += kBlockTokens) {
    const auto first = static_cast<std::size_t>(begin);
    const auto count = static_cast<std::size_t>(std::min(kBlockTokens, tokens - begin));
    for (std::size_t token = 0; token < count; ++token) {
      std::copy_n(activations + (first + token) * columns, columns, input.row(token));
    }
    const Product one[] = {{&weights, &input, &result}};
    multiply(selected_kernels(), ThreadPool::process(), threads, scratch, count, one,
             [](std::size_t, std::size_t, int, int) {});
    for (std::size_t token = 0; token < count; ++token) {
      std::copy_n(result.row(token), rows, output + (first + token) * rows);
    }
  }
}

void multiply_on_gpu(const CudaTarget& gpu, const Matrix& weights, int tokens, const float* activations,
                     float* output) {
  const WkvCudaGemm gemm{.weights = {.panels = weights.data.data(),
                                     .bytes = weights.size_in_bytes(),
                                     .bits = 8,
                                     .rows = weights.rows,
                                     .columns = weights.columns,
                                     .group = weights.group,
                                     .input_scales = nullptr},
                         .activations = activations,
                         .output = output,
                         .tokens = tokens};
  WkvCudaFailure failure{};
  check(gpu.api->gemm(gpu.device, &gemm, &failure), failure);
}

// gemmInt8({ activations, values, scales, tokens, rows, columns, group, threads, output, cuda? }): fills
// output.
Napi::Value gemm_int8(const Napi::CallbackInfo& info) {
  const Napi::Object object = require_object(info[0], "arguments");
  const int tokens = dimension(object, "tokens");
  const int rows = dimension(object, "rows");
  const int columns = dimension(object, "columns");
  const int group = group_of(object);
  const int groups = (columns + group - 1) / group;
  const unsigned threads = to_threads(object);
  const CudaTarget gpu = to_cuda_target(object.Get("cuda"));
  const std::span<float> activations = view<float>(object, "activations", product(tokens, columns));
  const auto values = view<std::int8_t>(object, "values", product(rows, columns));
  const std::span<float> scales = view<float>(object, "scales", product(rows, groups));
  const std::span<float> output = view<float>(object, "output", product(tokens, rows));
  const Matrix weights = packed(values, scales, rows, columns, group);
  if (gpu.api == nullptr) {
    multiply_on_cpu(weights, tokens, activations.data(), threads, output.data());
  } else {
    multiply_on_gpu(gpu, weights, tokens, activations.data(), output.data());
  }
  return info.Env().Undefined();
}

// wkv5({ r, k, v, w, u, state, batch, tokens, heads, headSize, y, cuda? }): fills y and updates state.
Napi::Value wkv5(const Napi::CallbackInfo& info) {
  const Napi::Object object = require_object(info[0], "arguments");
  const int batch = dimension(object, "batch");
  const int tokens = dimension(object, "tokens");
  const int heads = dimension(object, "heads");
  const int head_size = static_cast<int>(require_integer(object.Get("headSize"), "headSize", 1, 4096));
  const std::size_t channels = product(heads, head_size);
  const std::size_t numbers = product({batch, tokens, heads, head_size});
  const CudaTarget gpu = to_cuda_target(object.Get("cuda"));
  const std::span<float> r = view<float>(object, "r", numbers);
  const std::span<float> k = view<float>(object, "k", numbers);
  const std::span<float> v = view<float>(object, "v", numbers);
  const std::span<float> w = view<float>(object, "w", channels);
  const std::span<float> u = view<float>(object, "u", channels);
  const std::size_t head_state = product(head_size, head_size);
  const std::span<float> state = view<float>(object, "state", product({batch, heads, head_size, head_size}));
  const std::span<float> y = view<float>(object, "y", numbers);
  std::vector<float> forget(w.begin(), w.end());
  for (float& decay : forget) decay = 1.0F - decay;
  if (gpu.api != nullptr) {
    const WkvCudaWkv5 wkv{.r = r.data(),
                          .k = k.data(),
                          .v = v.data(),
                          .forget = forget.data(),
                          .u = u.data(),
                          .state = state.data(),
                          .y = y.data(),
                          .batch = batch,
                          .tokens = tokens,
                          .heads = heads,
                          .head_size = head_size};
    WkvCudaFailure failure{};
    check(gpu.api->wkv5(gpu.device, &wkv, &failure), failure);
    return info.Env().Undefined();
  }
  const FlushDenormals flush;  // as the engine's threads do
  for (std::size_t item = 0; item < product(batch, heads); ++item) {
    const std::size_t sequence = item / static_cast<std::size_t>(heads);
    const std::size_t channel = item % static_cast<std::size_t>(heads) * static_cast<std::size_t>(head_size);
    const std::size_t first = sequence * static_cast<std::size_t>(tokens) * channels + channel;
    selected_kernels().wkv5({.r = r.data() + first,
                             .k = k.data() + first,
                             .v = v.data() + first,
                             .forget = forget.data() + channel,
                             .u = u.data() + channel,
                             .state = state.data() + item * head_state,
                             .y = y.data() + first,
                             .stride = static_cast<std::ptrdiff_t>(channels),
                             .forget_stride = 0,
                             .tokens = tokens,
                             .head_size = head_size});
  }
  return info.Env().Undefined();
}

// measurePeak('int8' | 'f32', threads): Promise<number>, operations per second; see backend/cpu/ceilings.h.
Napi::Value measure_peak_call(const Napi::CallbackInfo& info) {
  const std::string what = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
  if (what != "int8" && what != "f32") {
    throw Napi::TypeError::New(info.Env(), "the peak must be that of 'int8' or 'f32'");
  }
  const auto threads = static_cast<unsigned>(require_integer(info[1], "threads", 1, ThreadPool::kMaxLanes));
  const KernelTable& kernels = selected_kernels();
  const Peak peak = what == "int8" ? kernels.quantized.peak_int8 : kernels.peak_f32;
  return in_background(
      info.Env(), [peak, threads] { return measure_peak(peak, threads); },
      [](Napi::Env env, double rate) { return Napi::Number::New(env, rate); });
}

// measureRead(threads): Promise<number>, bytes per second; see backend/cpu/ceilings.h.
Napi::Value measure_read_call(const Napi::CallbackInfo& info) {
  const auto threads = static_cast<unsigned>(require_integer(info[0], "threads", 1, ThreadPool::kMaxLanes));
  return in_background(
      info.Env(), [threads] { return measure_read(threads); },
      [](Napi::Env env, double rate) { return Napi::Number::New(env, rate); });
}

}  // namespace

void init_kernels(Napi::Env env, Napi::Object exports) {
  Napi::Object kernels = Napi::Object::New(env);
  kernels.Set("quantizeInt8", Napi::Function::New<guarded<quantize_int8>>(env));
  kernels.Set("gemmInt8", Napi::Function::New<guarded<gemm_int8>>(env));
  kernels.Set("wkv5", Napi::Function::New<guarded<wkv5>>(env));
  exports.Set("kernels", kernels);
  exports.Set("measurePeak", Napi::Function::New<guarded<measure_peak_call>>(env));
  exports.Set("measureRead", Napi::Function::New<guarded<measure_read_call>>(env));
}

}  // namespace wkv::addon
