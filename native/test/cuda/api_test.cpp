// The table of functions, on the simulated GPU: what it says about machines and GPUs.

#include <doctest/doctest.h>

#include <string>

#include "test/cuda/library.h"
#include "test/cuda/random_weights.h"
#include "test/support/refusal.h"

using wkv::test::create_cuda_model;
using wkv::test::cuda_api;
using wkv::test::cuda_model_of;
using wkv::test::cuda_page_of;
using wkv::test::CudaAnswer;
using wkv::test::CudaModel;
using wkv::test::CudaPage;
using wkv::test::Floats;
using wkv::test::has;
using wkv::test::kSmallShape;
using wkv::test::RandomWeights;
using wkv::test::WithMachine;

namespace {

CudaAnswer answer_of_machine(const wkv::cuda::simt::Machine& machine) {
  const WithMachine with(machine);
  CudaModel model;
  return create_cuda_model(kSmallShape, model);
}

}  // namespace

TEST_SUITE("CUDA library") {
  TEST_CASE("is of one version") {
    CHECK(cuda_api().version == WKV_CUDA_API_VERSION);
    CHECK(wkv_cuda_api(WKV_CUDA_API_VERSION + 1) == nullptr);
    CHECK(wkv_cuda_api(0) == nullptr);
  }

  TEST_CASE("says that there is no driver") {
    const CudaAnswer answer = answer_of_machine({.driver = 0});
    CHECK(answer.code == WKV_CUDA_NO_DRIVER);
    CHECK(answer.text == "there is no NVIDIA driver on this machine");
  }

  TEST_CASE("says which driver is too old, and what it needs") {
    const CudaAnswer answer = answer_of_machine({.driver = 12'040});
    CHECK(answer.code == WKV_CUDA_OLD_DRIVER);
    CHECK(answer.text ==
          "the NVIDIA driver is too old: it supports CUDA 12.4, and the library needs CUDA 13.0");
  }

  TEST_CASE("says that there is no GPU, or not the one that was asked for") {
    const CudaAnswer none = answer_of_machine({.devices = 0});
    CHECK(none.code == WKV_CUDA_NO_DEVICE);
    CHECK(none.text == "there is no NVIDIA GPU on this machine");
    CudaModel model;
    const CudaAnswer other = create_cuda_model(kSmallShape, model, 0, 3);
    CHECK(other.code == WKV_CUDA_NO_DEVICE);
    CHECK(other.text == "there is no CUDA device 3: there is 1");
  }

  TEST_CASE("says for which GPU it has no code") {
    const CudaAnswer answer = answer_of_machine({.architecture = 61});
    CHECK(answer.code == WKV_CUDA_ARCHITECTURE);
    CHECK(answer.text ==
          "the library has no code for the Simulated GPU, compute capability 6.1; it has code for 7.5, 8.x, "
          "9.0, 10.x and 12.0 or later");
  }

  TEST_CASE("says what there is too little memory for, and leaves none of it taken") {
    const CudaAnswer buffers = answer_of_machine({.memory = 5000});
    CHECK(buffers.code == WKV_CUDA_MEMORY);
    CHECK(has(buffers.text, "not enough memory on the GPU while making room for a step"));
    CudaModel model;
    const CudaAnswer weights = create_cuda_model(kSmallShape, model, std::uint64_t{1} << 40);
    CHECK(weights.code == WKV_CUDA_MEMORY);
    CHECK(has(weights.text, "the weights take 1048576 MiB, but only 10"));
    CHECK(wkv::cuda::simt::blocks_in_use() == 0);
    CHECK(wkv::cuda::simt::graphs_in_use() == 0);
  }

  TEST_CASE("describes devices") {
    const WithMachine with({.devices = 2, .architecture = 90, .memory = std::size_t{1} << 30});
    std::int32_t count = 0;
    CHECK(cuda_api().count_devices(&count, nullptr) == WKV_CUDA_OK);
    CHECK(count == 2);
    WkvCudaDevice device{};
    CHECK(cuda_api().describe_device(1, &device, nullptr) == WKV_CUDA_OK);
    CHECK(std::string(device.name) == "Simulated GPU");
    CHECK(device.major == 9);
    CHECK(device.minor == 0);
    CHECK(device.memory == std::uint64_t{1} << 30);
    CHECK(cuda_api().describe_device(2, &device, nullptr) == WKV_CUDA_NO_DEVICE);
    CHECK(cuda_api().describe_device(-1, &device, nullptr) == WKV_CUDA_NO_DEVICE);
  }

  TEST_CASE("a GPU that it has no code for is no trouble to what the thread does next") {
    const WithMachine with({.devices = 2, .old_device = 0});
    WkvCudaDevice device{};
    WkvCudaFailure failure{};
    CHECK(cuda_api().describe_device(0, &device, &failure) == WKV_CUDA_ARCHITECTURE);
    CHECK(has(failure.text, "compute capability 6.1"));
    // What it leaves, the next step would take for its own.
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK(cuda_api().describe_device(1, &device, nullptr) == WKV_CUDA_OK);
    CHECK(device.major == 8);
    CudaModel model;
    CHECK(create_cuda_model(kSmallShape, model, 0, 0).code == WKV_CUDA_ARCHITECTURE);
    CHECK(create_cuda_model(kSmallShape, model, 0, 1).code == WKV_CUDA_OK);
  }

  TEST_CASE("a GPU that is lost is refused whatever is asked of it") {
    const auto refused = [](auto ask) {
      WkvCudaFailure failure{};
      CHECK(ask(&failure) == WKV_CUDA_LOST);
      CHECK(has(failure.text, "the GPU failed while "));
      CHECK(has(failure.text, ": cudaErrorLaunchFailure, as simulated"));
    };
    CudaModel model = cuda_model_of(kSmallShape);
    const CudaPage page = cuda_page_of(model);
    Floats numbers(2 * 20 + 2 * 8 * 8);
    const auto read = [&](WkvCudaFailure* failure) {
      return cuda_api().read_page(page.get(), numbers.data(), failure);
    };
    {
      const WithMachine with({.lost_after = 0});
      refused(read);
      std::int32_t count = 0;
      refused([&](WkvCudaFailure* failure) { return cuda_api().count_devices(&count, failure); });
      WkvCudaDevice device{};
      refused([&](WkvCudaFailure* failure) { return cuda_api().describe_device(0, &device, failure); });
      WkvCudaModel* other = nullptr;
      refused([&](WkvCudaFailure* failure) {
        return cuda_api().create_model(0, &kSmallShape, 0, &other, failure);
      });
      CHECK(other == nullptr);
    }
    // Nobody knows what became of the model's memory.
    refused(read);
    refused([&](WkvCudaFailure* failure) {
      return cuda_api().put_vector(model.get(), WKV_CUDA_LN0_WEIGHT, 0, numbers.data(), 20, failure);
    });
    WkvCudaPage* other = nullptr;
    refused([&](WkvCudaFailure* failure) { return cuda_api().create_page(model.get(), &other, failure); });
    CHECK(other == nullptr);
    CudaModel again;
    CHECK(create_cuda_model(kSmallShape, again).code == WKV_CUDA_OK);
  }

  TEST_CASE("a GPU that is lost is named so, and everything ends in order") {
    const RandomWeights random({}, 1);
    {
      const auto network = wkv::test::on_gpu(random, cuda_api(), 64e-5F);
      const auto workspace = network->create_workspace(1);
      const auto state = network->create_numbers();
      const std::uint32_t token = 3;
      const wkv::Segment segment{{&token, 1}, nullptr, wkv::Logits::kNone, state.get(), nullptr};
      const auto step = [&] {
        static_cast<void>(network->step({&segment, 1}, *workspace, wkv::ThreadPool::process(), 1, {},
                                        [] { return false; }));
      };
      step();
      const WithMachine with({.lost_after = 0});
      const wkv::Error error = wkv::test::refusal(step);
      CHECK(error.code == "ERR_WKV_DEVICE");
      CHECK(error.message == "the GPU failed while computing a step: cudaErrorLaunchFailure, as simulated");
      CHECK(wkv::test::refusal(step).code == "ERR_WKV_DEVICE");
      Floats numbers(random.info.state.numbers());
      CHECK(wkv::test::refusal([&] { state->read(numbers.data()); }).code == "ERR_WKV_DEVICE");
      CHECK(wkv::test::refusal([&] { static_cast<void>(state->copy()); }).code == "ERR_WKV_DEVICE");
    }
    CHECK(wkv::cuda::simt::blocks_in_use() == 0);
    CHECK(wkv::cuda::simt::graphs_in_use() == 0);
  }
}
