// inspectModel and loadModel, from a tensor directory to a Model; and what there is to compute with.

#include "addon/loading.h"

#include <atomic>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/guard.h"
#include "addon/job.h"
#include "addon/model.h"
#include "backend/cpu/cpu_features.h"

namespace wkv::addon {

namespace {

using Loaded = std::shared_ptr<const LoadedModel>;

Loaded read_model(const TensorDirectory& directory, const LoadOptions& options, unsigned threads,
                  const std::atomic<bool>& cancelled, const LoadProgress& progress) {
  try {
    Loaded loaded = load_model(directory, options, threads, cancelled, progress);
    // Called off in the last moment: the caller must not get what he no longer wants.
    if (cancelled.load()) throw Cancelled{};
    return loaded;
  } catch (const std::bad_alloc&) {
    throw Error("ERR_WKV_MEMORY", "there is not enough memory for the model's weights");
  }
}

Napi::Value create_model(Napi::Env env, Loaded loaded, const ModelOptions& options) {
  try {
    return Model::create(env, std::move(loaded), options);
  } catch (const std::bad_alloc&) {
    throw Error("ERR_WKV_MEMORY", "there is not enough memory for the model's buffers");
  } catch (const std::system_error& reason) {
    throw Error("ERR_WKV_MEMORY", std::string("no thread could be started for the model: ") + reason.what());
  }
}

// loadModel(directory, { weights?, groupNormEpsilon?, mmap?, cuda?: { library, device }, onlyShared?,
// threads, maxBatch, packStates }, onProgress?): { promise of Model, of undefined if cancelled, or of null
// where a model that was to be shared did not come; cancel() }
Napi::Value load_model_call(const Napi::CallbackInfo& info) {
  auto directory = std::make_shared<const TensorDirectory>(to_directory(info[0]));
  const LoadOptions options = to_load_options(info[1]);
  const Napi::Object object = info[1].As<Napi::Object>();
  const ModelOptions model{.threads = to_threads(object),
                           .max_batch = static_cast<std::size_t>(
                               require_integer(object.Get("maxBatch"), "maxBatch", 1, 1'000'000)),
                           .pack_states = object.Get("packStates").ToBoolean()};
  return start_job<Loaded>(
      info.Env(), info[2],
      [directory, options, threads = model.threads](const std::atomic<bool>& cancelled,
                                                    const LoadProgress& progress) {
        return read_model(*directory, options, threads, cancelled, progress);
      },
      [model](Napi::Env env, Loaded loaded) {
        return loaded == nullptr ? env.Null() : create_model(env, std::move(loaded), model);
      });
}

Napi::Value inspect_model_call(const Napi::CallbackInfo& info) {
  const TensorDirectory directory = to_directory(info[0]);
  const LoadOptions options = to_load_options(info[1]);
  const ModelInfo model = inspect_weights(directory, options);
  Napi::Object result = to_javascript(info.Env(), model);
  result.Set("stateBytes", static_cast<double>(model.state.numbers() * sizeof(float)));
  result.Set("loaded", is_loaded(directory, options));
  return result;
}

Napi::Value flush(const Napi::CallbackInfo& info) {
  Environment::of(info.Env()).flush();
  return info.Env().Undefined();
}

Napi::Value features(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array isa = Napi::Array::New(env);
  std::uint32_t count = 0;
  for (const KernelTable* table : available_kernels()) isa.Set(count++, table->name);
  Napi::Object object = Napi::Object::New(env);
  object.Set("isa", isa);
  object.Set("selected", selected_kernels().name);
  object.Set("note", std::string(selection_note()));
  return object;
}

// cudaDeviceCount(library): how many GPUs there are; throws ERR_WKV_DEVICE.
Napi::Value cuda_device_count(const Napi::CallbackInfo& info) {
  WkvCudaFailure failure{};
  std::int32_t count = 0;
  if (open_cuda(info[0]).count_devices(&count, &failure) != WKV_CUDA_OK) {
    throw Error("ERR_WKV_DEVICE", failure.text);
  }
  return Napi::Number::New(info.Env(), count);
}

// cudaDevice(library, index): { name, computeCapability, memory, freeMemory }, or { reason } where it cannot
// be used; throws ERR_WKV_DEVICE.
Napi::Value cuda_device(const Napi::CallbackInfo& info) {
  const WkvCudaApi& api = open_cuda(info[0]);
  const auto index = static_cast<std::int32_t>(require_integer(info[1], "index", 0, 999));
  WkvCudaFailure failure{};
  WkvCudaDevice description{};
  Napi::Object device = Napi::Object::New(info.Env());
  if (api.describe_device(index, &description, &failure) != WKV_CUDA_OK) {
    device.Set("reason", failure.text);
    return device;
  }
  device.Set("name", description.name);
  device.Set("computeCapability",
             std::to_string(description.major) + "." + std::to_string(description.minor));
  device.Set("memory", static_cast<double>(description.memory));
  device.Set("freeMemory", static_cast<double>(description.free_memory));
  return device;
}

}  // namespace

void init_loading(Napi::Env env, Napi::Object exports) {
  exports.Set("flush", Napi::Function::New<guarded<flush>>(env));
  exports.Set("inspectModel", Napi::Function::New<guarded<inspect_model_call>>(env));
  exports.Set("loadModel", Napi::Function::New<guarded<load_model_call>>(env));
  exports.Set("features", Napi::Function::New<guarded<features>>(env));
  exports.Set("cudaDeviceCount", Napi::Function::New<guarded<cuda_device_count>>(env));
  exports.Set("cudaDevice", Napi::Function::New<guarded<cuda_device>>(env));
}

}  // namespace wkv::addon
