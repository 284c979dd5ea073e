// Kernels alone, through the table of functions. Their results: test/kernels/cuda.test.ts.

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "backend/cuda/api.h"
#include "simt/runtime.h"

extern "C" const WkvCudaApi* wkv_cuda_api(uint32_t version);

using wkv::cuda::simt::blocks_in_use;
using wkv::cuda::simt::Machine;
using wkv::cuda::simt::set_machine;

namespace {

struct Answer {
  int code;
  std::string text;
};

// Two sequences of three tokens, two heads of 64.
struct Recurrence {
  std::vector<float> r = std::vector<float>(2 * 3 * 128, 0.5F), k = r, v = r, y = r;
  std::vector<float> forget = std::vector<float>(128, 0.25F), u = forget;
  std::vector<float> state = std::vector<float>(2 * 128 * 64, 1);
  WkvCudaWkv5 arguments{.r = r.data(),
                        .k = k.data(),
                        .v = v.data(),
                        .forget = forget.data(),
                        .u = u.data(),
                        .state = state.data(),
                        .y = y.data(),
                        .batch = 2,
                        .tokens = 3,
                        .heads = 2,
                        .head_size = 64};

  Answer run(int device = 0) const {
    WkvCudaFailure failure{};
    const int code = wkv_cuda_api(WKV_CUDA_API_VERSION)->wkv5(device, &arguments, &failure);
    CHECK(blocks_in_use() == 0);
    return {code, failure.text};
  }
};

// Three tokens, a matrix of 5 x 20, a panel in two units of 16 columns.
struct Gemm {
  std::vector<unsigned char> panels = std::vector<unsigned char>((32 + 4) * 32, 128);
  std::vector<float> activations = std::vector<float>(3 * 20, 1);
  std::vector<float> output = std::vector<float>(3 * 5, -1);
  WkvCudaGemm arguments{.weights = {.panels = panels.data(),
                                    .bytes = panels.size(),
                                    .bits = 8,
                                    .rows = 5,
                                    .columns = 20,
                                    .group = 32,
                                    .input_scales = nullptr},
                        .activations = activations.data(),
                        .output = output.data(),
                        .tokens = 3};

  Answer run(int device = 0) const {
    WkvCudaFailure failure{};
    const int code = wkv_cuda_api(WKV_CUDA_API_VERSION)->gemm(device, &arguments, &failure);
    CHECK(blocks_in_use() == 0);
    return {code, failure.text};
  }
};

template <class Kernel>
void check_machines() {
  const auto on = [](const Machine& machine) {
    set_machine(machine);
    const Answer answer = Kernel().run();
    set_machine({});
    return answer;
  };
  CHECK(on({}).code == WKV_CUDA_OK);
  CHECK(on({.driver = 0}).code == WKV_CUDA_NO_DRIVER);
  CHECK(on({.devices = 0}).code == WKV_CUDA_NO_DEVICE);
  CHECK(on({.architecture = 61}).code == WKV_CUDA_ARCHITECTURE);
  const Answer lost = on({.lost_after = 1});
  CHECK(lost.code == WKV_CUDA_LOST);
  CHECK(lost.text.find("the GPU failed while ") == 0);
  CHECK(Kernel().run(1).code == WKV_CUDA_NO_DEVICE);
  // Wherever it ends.
  int too_little = 0;
  for (std::size_t memory = 0; on({.memory = memory}).code == WKV_CUDA_MEMORY; memory += 512) ++too_little;
  CHECK(too_little > 3);
}

}  // namespace

TEST_SUITE("CUDA kernels alone") {
  TEST_CASE("compute, or say what is wrong with the machine, and leave nothing on it") {
    check_machines<Recurrence>();
    check_machines<Gemm>();
  }

  TEST_CASE("wkv5 refuses what it does not take, by name") {
    const auto refused = [](auto change) {
      Recurrence wkv;
      change(wkv.arguments);
      const Answer answer = wkv.run();
      CHECK(answer.code == WKV_CUDA_UNSUPPORTED);
      return answer.text;
    };
    CHECK(refused([](WkvCudaWkv5& a) { a.batch = 65'536; }) ==
          "the CUDA backend takes 1 to 65535 sequences, not 65536");
    CHECK(refused([](WkvCudaWkv5& a) { a.heads = 0; }) == "the CUDA backend takes 1 to 65535 heads, not 0");
    CHECK(refused([](WkvCudaWkv5& a) { a.head_size = 1025; }) ==
          "the CUDA backend takes 1 to 1024 channels in a head, not 1025");
    CHECK(refused([](WkvCudaWkv5& a) { a.tokens = std::numeric_limits<std::int32_t>::max(); }) ==
          "the CUDA backend takes 1 to 2147483647 tokens in all, not 4294967294");
    Recurrence wkv;
    wkv.arguments.u = nullptr;
    CHECK(wkv.run().code == WKV_CUDA_ARGUMENT);
    CHECK(wkv.run().text == "an input is null");
  }

  TEST_CASE("gemm_int8 refuses what it does not take, by name") {
    const auto answer = [](auto change) {
      Gemm gemm;
      change(gemm.arguments);
      return gemm.run();
    };
    CHECK(answer([](WkvCudaGemm& a) { a.tokens = 0; }).code == WKV_CUDA_UNSUPPORTED);
    CHECK(answer([](WkvCudaGemm& a) { a.weights.rows = -1; }).text ==
          "the CUDA backend takes 1 to 16777216 rows, not -1");
    CHECK(answer([](WkvCudaGemm& a) { a.weights.columns = 1 << 21; }).code == WKV_CUDA_UNSUPPORTED);
    const Answer group = answer([](WkvCudaGemm& a) { a.weights.group = 24; });
    CHECK(group.code == WKV_CUDA_ARGUMENT);
    CHECK(group.text == "the matrix has groups of 24 columns, expected a multiple of 16 up to 65536");
    CHECK(answer([](WkvCudaGemm& a) { a.weights.bytes -= 1; }).text == "the matrix has 1151 bytes, not 1152");
    CHECK(answer([](WkvCudaGemm& a) { a.output = nullptr; }).text == "the output is null");
  }
}
