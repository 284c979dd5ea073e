// The table of functions: checks arguments, and lets nothing but codes out.

#include "backend/cuda/api.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>

#include "backend/cuda/devices.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/model.h"

#if defined(_WIN32)
#define WKV_EXPORT __declspec(dllexport)
#else
#define WKV_EXPORT __attribute__((visibility("default")))
#endif

namespace {

using wkv::cuda::Failed;
using wkv::cuda::refuse;

void require(const void* pointer, const char* name) {
  if (pointer == nullptr) refuse(std::string(name) + " is null");
}

int32_t report(WkvCudaFailure* failure, WkvCudaCode code, const char* text) {
  if (failure != nullptr) {
    failure->code = code;
    const std::size_t length = std::min(std::strlen(text), sizeof failure->text - 1);
    std::memcpy(failure->text, text, length);
    failure->text[length] = 0;
  }
  return code;
}

template <class Body>
int32_t guarded(WkvCudaFailure* failure, Body&& body) noexcept {
  try {
    body();
    return WKV_CUDA_OK;
  } catch (const Failed& failed) {
    return report(failure, failed.code, failed.text.c_str());
  } catch (const std::bad_alloc&) {
    return report(failure, WKV_CUDA_MEMORY, "there is not enough memory on the host");
  } catch (const std::exception& error) {
    // The simulated GPU's kernels say so what they do wrong.
    return report(failure, WKV_CUDA_LOST, error.what());
  } catch (...) {
    return report(failure, WKV_CUDA_LOST, "the library failed");
  }
}

// On the device of a model or a page, one at a time. What a device was doing when it was lost may be half
// done, so that nothing is done on it afterwards, not even if it should answer again.
template <class Owner, class Body>
int32_t on_device(Owner* owner, WkvCudaFailure* failure, Body&& body) noexcept {
  return guarded(failure, [&] {
    require(owner, "the model or page");
    const std::shared_ptr<wkv::cuda::PagedDevice> on = owner->on;
    const std::lock_guard lock{on->mutex};
    if (!on->lost.empty()) throw Failed{WKV_CUDA_LOST, on->lost};
    try {
      on->enter();
      body(*on);
    } catch (const Failed& failed) {
      if (failed.code == WKV_CUDA_LOST) on->lost = failed.text;
      throw;
    }
  });
}

int32_t count_devices(int32_t* count, WkvCudaFailure* failure) {
  return guarded(failure, [&] {
    require(count, "count");
    *count = wkv::cuda::count_devices();
  });
}

int32_t describe_device(int32_t device, WkvCudaDevice* description, WkvCudaFailure* failure) {
  return guarded(failure, [&] {
    require(description, "description");
    wkv::cuda::use_device(device);
    static_cast<void>(wkv::cuda::free_unused(device));
    *description = wkv::cuda::describe_device(device);
  });
}

int32_t create_model(int32_t device, const WkvCudaShape* shape, uint64_t weight_bytes, WkvCudaModel** model,
                     WkvCudaFailure* failure) {
  return guarded(failure, [&] {
    require(shape, "shape");
    require(model, "model");
    *model = new WkvCudaModel(device, *shape, weight_bytes);
  });
}

// What is destroyed is freed on its device; a device that was lost has freed it already.
void destroy_model(WkvCudaModel* model) {
  static_cast<void>(guarded(nullptr, [&] {
    if (model == nullptr) return;
    const std::shared_ptr<wkv::cuda::PagedDevice> on = model->on;
    const std::lock_guard lock{on->mutex};
    static_cast<void>(cudaSetDevice(on->device));
    delete model;
    on->has_model.store(false);
    on->trim();
  }));
}

int32_t put_vector(WkvCudaModel* model, int32_t vector, int32_t layer, const float* numbers, uint64_t count,
                   WkvCudaFailure* failure) {
  return on_device(model, failure, [&](const auto& on) {
    require(numbers, "numbers");
    model->step.forget_weights();
    model->weights.put_vector(vector, layer, numbers, count, on.stream);
  });
}

int32_t put_matrix(WkvCudaModel* model, int32_t matrix, int32_t layer, const WkvCudaMatrix* weights,
                   WkvCudaFailure* failure) {
  return on_device(model, failure, [&](const auto& on) {
    require(weights, "weights");
    require(weights->panels, "panels");
    model->step.forget_weights();
    model->weights.put_matrix(matrix, layer, *weights, on.stream);
  });
}

int32_t put_lora_matrix(WkvCudaModel* model, int32_t matrix, int32_t layer, const WkvCudaLoraMatrix* weights,
                        WkvCudaFailure* failure) {
  return on_device(model, failure, [&](const auto& on) {
    require(weights, "weights");
    require(weights->panels, "panels");
    model->step.forget_weights();
    model->weights.put_lora_matrix(matrix, layer, *weights, on.stream);
  });
}

int32_t put_embedding(WkvCudaModel* model, int32_t type, const void* numbers, uint64_t bytes,
                      WkvCudaFailure* failure) {
  return on_device(model, failure, [&](const auto& on) {
    require(numbers, "numbers");
    model->step.forget_weights();
    model->weights.put_embedding(type, numbers, bytes, on.stream);
  });
}

int32_t create_page(WkvCudaModel* model, WkvCudaPage** page, WkvCudaFailure* failure) {
  return on_device(model, failure, [&](const auto& on) {
    require(page, "page");
    auto created = std::make_unique<WkvCudaPage>(model->on, false);
    wkv::cuda::check(cudaMemsetAsync(created->numbers, 0, created->bytes(), on.stream.get()),
                     "making room for a session");
    *page = created.release();
  });
}

// Does not wait for a step that runs.
void destroy_page(WkvCudaPage* page) {
  static_cast<void>(guarded(nullptr, [&] {
    if (page == nullptr) return;
    const std::shared_ptr<wkv::cuda::PagedDevice> on = page->on;
    static_cast<void>(cudaSetDevice(on->device));
    delete page;
    if (on->has_model.load()) return;
    const std::lock_guard lock{on->mutex};
    on->trim();
  }));
}

int32_t copy_page(const WkvCudaPage* page, int32_t type, WkvCudaPage** copy, WkvCudaFailure* failure) {
  return on_device(page, failure, [&](const auto&) {
    require(copy, "copy");
    if (type != WKV_CUDA_F32 && type != WKV_CUDA_F16) refuse("a page has no type " + std::to_string(type));
    auto created = std::make_unique<WkvCudaPage>(page->on, type == WKV_CUDA_F16);
    page->copy_to(*created);
    *copy = created.release();
  });
}

int32_t read_page(const WkvCudaPage* page, void* numbers, WkvCudaFailure* failure) {
  return on_device(page, failure, [&](const auto& on) {
    require(numbers, "numbers");
    wkv::cuda::check(
        cudaMemcpyAsync(numbers, page->numbers, page->state_bytes(), cudaMemcpyDeviceToHost, on.stream.get()),
        "reading a state");
    on.stream.wait("reading a state");
  });
}

int32_t write_page(WkvCudaPage* page, const float* numbers, WkvCudaFailure* failure) {
  return on_device(page, failure, [&](const auto& on) {
    require(numbers, "numbers");
    if (page->packed) refuse("the page to write to is packed");
    wkv::cuda::check(
        cudaMemcpyAsync(page->numbers, numbers, page->state_bytes(), cudaMemcpyHostToDevice, on.stream.get()),
        "writing a state");
    on.stream.wait("writing a state");
  });
}

int32_t read_logits(const WkvCudaPage* page, float* logits, WkvCudaFailure* failure) {
  return on_device(page, failure, [&](const auto& on) {
    require(logits, "logits");
    wkv::cuda::check(cudaMemcpyAsync(logits, page->logits(), on.vocabulary * sizeof(float),
                                     cudaMemcpyDeviceToHost, on.stream.get()),
                     "reading logits");
    on.stream.wait("reading logits");
  });
}

wkv::cuda::StepSegment checked(const WkvCudaModel& model, const WkvCudaSegment& segment) {
  require(segment.page, "a segment's page");
  require(segment.tokens, "a segment's tokens");
  if (segment.page->on != model.on) refuse("a segment's page is of another model");
  if (segment.page->packed) refuse("a segment's page is packed");
  if (segment.count < 1) refuse("a segment has no tokens");
  if (segment.logits < WKV_CUDA_LOGITS_NONE || segment.logits > WKV_CUDA_LOGITS_ALL) {
    refuse("a segment wants logits of kind " + std::to_string(segment.logits));
  }
  for (int32_t i = 0; i < std::min(segment.count, model.shape.max_tokens); ++i) {
    if (segment.tokens[i] >= static_cast<std::uint32_t>(model.shape.vocabulary)) {
      refuse("the token " + std::to_string(segment.tokens[i]) + " is beyond the vocabulary of " +
             std::to_string(model.shape.vocabulary));
    }
  }
  if (segment.draw != nullptr) {
    if (segment.logits != WKV_CUDA_LOGITS_NONE) refuse("a segment wants both logits and a draw");
    wkv::cuda::require_valid(*segment.draw, model.shape.vocabulary);
  }
  return {segment.page->numbers, segment.tokens,
          segment.count,         static_cast<WkvCudaLogits>(segment.logits),
          segment.draw,          segment.page->logits()};
}

int32_t step(WkvCudaModel* model, const WkvCudaSegment* segments, int32_t count, float* logits,
             WkvCudaFailure* failure) {
  return on_device(model, failure, [&](const auto& on) {
    require(segments, "segments");
    if (count < 1 || count > model->shape.max_segments) {
      refuse("a step of " + std::to_string(count) + " segments, expected 1 to " +
             std::to_string(model->shape.max_segments));
    }
    std::vector<wkv::cuda::StepSegment> all;
    std::vector<const float*> states;
    std::int64_t tokens = 0;
    bool any_logits = false;
    for (int32_t i = 0; i < count; ++i) {
      all.push_back(checked(*model, segments[i]));
      states.push_back(all.back().state);
      tokens += all.back().count;
      any_logits = any_logits || all.back().logits != WKV_CUDA_LOGITS_NONE;
    }
    if (tokens > model->shape.max_tokens) {
      refuse("a step of " + std::to_string(tokens) + " tokens, expected at most " +
             std::to_string(model->shape.max_tokens));
    }
    std::sort(states.begin(), states.end());
    if (std::adjacent_find(states.begin(), states.end()) != states.end()) {
      refuse("two segments of a step have the same page");
    }
    if (any_logits) require(logits, "logits");
    model->weights.require_complete();
    model->step.run(model->weights, all, logits, on.stream);
  });
}

int32_t wkv5(int32_t device, const WkvCudaWkv5* arguments, WkvCudaFailure* failure) {
  return guarded(failure, [&] {
    require(arguments, "arguments");
    const WkvCudaWkv5& a = *arguments;
    for (const float* const numbers : {a.r, a.k, a.v, a.forget, a.u}) require(numbers, "an input");
    require(a.state, "the state");
    require(a.y, "y");
    wkv::cuda::use_device(device);
    wkv::cuda::run_wkv5(a);
  });
}

int32_t gemm(int32_t device, const WkvCudaGemm* arguments, WkvCudaFailure* failure) {
  return guarded(failure, [&] {
    require(arguments, "arguments");
    require(arguments->weights.panels, "panels");
    require(arguments->activations, "activations");
    require(arguments->output, "the output");
    wkv::cuda::use_device(device);
    wkv::cuda::run_gemm(*arguments);
  });
}

int32_t pages_that_fit(WkvCudaModel* model, uint64_t* pages, WkvCudaFailure* failure) {
  return on_device(model, failure, [&](const auto& on) {
    require(pages, "pages");
    *pages = wkv::cuda::memory_for_pages() / on.unpacked_pages.page_bytes();
  });
}

constexpr WkvCudaApi kApi{
    .version = WKV_CUDA_API_VERSION,
    .count_devices = count_devices,
    .describe_device = describe_device,
    .create_model = create_model,
    .destroy_model = destroy_model,
    .put_vector = put_vector,
    .put_matrix = put_matrix,
    .put_lora_matrix = put_lora_matrix,
    .put_embedding = put_embedding,
    .create_page = create_page,
    .destroy_page = destroy_page,
    .copy_page = copy_page,
    .read_page = read_page,
    .write_page = write_page,
    .pages_that_fit = pages_that_fit,
    .step = step,
    .read_logits = read_logits,
    .wkv5 = wkv5,
    .gemm = gemm,
};

}  // namespace

extern "C" WKV_EXPORT const WkvCudaApi* wkv_cuda_api(uint32_t version) {
  return version == WKV_CUDA_API_VERSION ? &kApi : nullptr;
}
