#pragma once

// The library on the simulated GPU, and models in it that are as small as they can be.

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "backend/cuda/api.h"
#include "gpu_check/shapes.h"
#include "simt/runtime.h"
#include "simt/simt.h"

extern "C" const WkvCudaApi* wkv_cuda_api(uint32_t version);

namespace wkv::test {

inline const WkvCudaApi& cuda_api() { return *wkv_cuda_api(WKV_CUDA_API_VERSION); }

// Of the first GPU, in bytes.
inline std::size_t free_memory() {
  WkvCudaDevice device{};
  REQUIRE(cuda_api().describe_device(0, &device, nullptr) == WKV_CUDA_OK);
  return device.free_memory;
}

constexpr WkvCudaShape small_shape(int channels, int heads, int head_size) {
  WkvCudaShape shape = gpu_check::shape_of(1, channels, heads, head_size, 30, 11, 16);
  shape.max_segments = 4;
  return shape;
}
constexpr WkvCudaShape kSmallShape = small_shape(20, 2, 8);

// A machine that is as it was before when the test ends.
struct WithMachine {
  explicit WithMachine(const cuda::simt::Machine& machine) { cuda::simt::set_machine(machine); }
  ~WithMachine() { cuda::simt::set_machine({}); }
  WithMachine(const WithMachine&) = delete;
  WithMachine& operator=(const WithMachine&) = delete;
};

struct DestroyCudaModel {
  void operator()(WkvCudaModel* model) const { cuda_api().destroy_model(model); }
};
using CudaModel = std::unique_ptr<WkvCudaModel, DestroyCudaModel>;
struct DestroyCudaPage {
  void operator()(WkvCudaPage* page) const { cuda_api().destroy_page(page); }
};
using CudaPage = std::unique_ptr<WkvCudaPage, DestroyCudaPage>;

struct CudaAnswer {
  int code;
  std::string text;
};

inline CudaAnswer create_cuda_model(const WkvCudaShape& shape, CudaModel& model,
                                    std::uint64_t weight_bytes = 0, int device = 0) {
  WkvCudaFailure failure{};
  WkvCudaModel* created = nullptr;
  const int code = cuda_api().create_model(device, &shape, weight_bytes, &created, &failure);
  CHECK((created == nullptr) == (code != WKV_CUDA_OK));
  model.reset(created);
  return {code, failure.text};
}

inline CudaModel cuda_model_of(const WkvCudaShape& shape) {
  CudaModel model;
  REQUIRE(create_cuda_model(shape, model).code == WKV_CUDA_OK);
  return model;
}

inline CudaPage cuda_page_of(const CudaModel& model) {
  WkvCudaPage* page = nullptr;
  REQUIRE(cuda_api().create_page(model.get(), &page, nullptr) == WKV_CUDA_OK);
  return CudaPage(page);
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace wkv::test
