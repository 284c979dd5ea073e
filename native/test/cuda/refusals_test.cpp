// What the table of functions refuses, on the simulated GPU.

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <vector>

#include "test/cuda/library.h"
#include "test/support/numbers.h"

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

TEST_SUITE("CUDA arguments") {
  TEST_CASE("refuses models that the kernels do not take, by name") {
    const auto refused = [](auto change) {
      WkvCudaShape shape = kSmallShape;
      change(shape);
      CudaModel model;
      const CudaAnswer answer = create_cuda_model(shape, model);
      CHECK(answer.code == WKV_CUDA_UNSUPPORTED);
      return answer.text;
    };
    CHECK(refused([](WkvCudaShape& s) { s.channels = 7000; }) ==
          "the CUDA backend takes 1 to 6080 channels, not 7000");
    CHECK(
        has(refused([](WkvCudaShape& s) { s.head_size = 1025; }), "1 to 1024 channels in a head, not 1025"));
    CHECK(has(refused([](WkvCudaShape& s) { s.layers = 0; }), "layers"));
    CHECK(has(refused([](WkvCudaShape& s) { s.heads = -1; }), "heads"));
    CHECK(has(refused([](WkvCudaShape& s) {
                s.heads = 1024;
                s.head_size = 1024;
                s.layers = 1024;
              }),
              "numbers in a state"));
  }

  TEST_CASE("refuses architectures that there are not, and widths that they do not have") {
    const auto answer = [](auto change) {
      WkvCudaShape shape = kSmallShape;
      change(shape);
      CudaModel model;
      return create_cuda_model(shape, model);
    };
    CHECK(answer([](WkvCudaShape& s) { s.architecture = 5; }).text == "there is no architecture 5");
    CHECK(answer([](WkvCudaShape& s) { s.architecture = -1; }).code == WKV_CUDA_ARGUMENT);
    const CudaAnswer of_4 = answer([](WkvCudaShape& s) { s.architecture = WKV_CUDA_RWKV4; });
    CHECK(of_4.code == WKV_CUDA_UNSUPPORTED);
    CHECK(has(of_4.text, "1 to 1 channels in a head, not 8"));
    const CudaAnswer of_5 = answer([](WkvCudaShape& s) { s.decay_rank = 8; });
    CHECK(of_5.code == WKV_CUDA_ARGUMENT);
    CHECK(of_5.text == "such a model has no matrices of its decay");
    const auto six = [](WkvCudaShape& s) {
      s.architecture = WKV_CUDA_RWKV6;
      s.mix_rank = 4;
      s.decay_rank = 8;
    };
    CHECK(answer(six).code == WKV_CUDA_OK);
    const CudaAnswer without = answer([&](WkvCudaShape& s) {
      six(s);
      s.mix_rank = 0;
    });
    CHECK(without.code == WKV_CUDA_UNSUPPORTED);
    CHECK(has(without.text, "1 to 4096 numbers between the matrices of its mixes, not 0"));
    const auto seven = [](WkvCudaShape& s) {
      s.architecture = WKV_CUDA_RWKV7;
      s.decay_rank = s.rate_rank = s.gate_rank = 8;
    };
    // The first layer has no matrices of the first value.
    CHECK(answer(seven).code == WKV_CUDA_OK);
    CHECK(answer([&](WkvCudaShape& s) {
            seven(s);
            s.value_rank = 8;
          }).code == WKV_CUDA_ARGUMENT);
    CHECK(answer([&](WkvCudaShape& s) {
            seven(s);
            s.layers = 2;
          }).code == WKV_CUDA_UNSUPPORTED);
  }

  TEST_CASE("refuses tensors that an architecture does not have, and LoRA matrices that do not fit") {
    WkvCudaShape shape = kSmallShape;
    shape.architecture = WKV_CUDA_RWKV6;
    shape.layers = 2;
    shape.mix_rank = 5;
    shape.decay_rank = 8;
    CudaModel model = cuda_model_of(shape);
    WkvCudaFailure failure{};
    const Floats numbers(2048);
    CHECK(cuda_api().put_vector(model.get(), WKV_CUDA_ATT_MIX_X, 1, numbers.data(), 20, &failure) ==
          WKV_CUDA_OK);
    CHECK(cuda_api().put_vector(model.get(), WKV_CUDA_ATT_R_K, 1, numbers.data(), 16, &failure) ==
          WKV_CUDA_ARGUMENT);
    CHECK(std::string(failure.text) ==
          "such a model has no vector " + std::to_string(WKV_CUDA_ATT_R_K) + " in layer 1");
    const auto put = [&](int name, int layer, int type, int rows, int columns, std::uint64_t bytes) {
      const WkvCudaLoraMatrix matrix{numbers.data(), bytes, type, rows, columns};
      return cuda_api().put_lora_matrix(model.get(), name, layer, &matrix, &failure);
    };
    // Panels of 4 rows and 16 columns: of 5 x 20 they are 8 x 32.
    CHECK(put(WKV_CUDA_MIX_K_DOWN, 0, WKV_CUDA_F32, 5, 20, 8 * 32 * 4) == WKV_CUDA_OK);
    CHECK(put(WKV_CUDA_MIX_K_DOWN, 1, WKV_CUDA_BF16, 5, 20, 8 * 32 * 2 + 63) == WKV_CUDA_OK);
    CHECK(put(WKV_CUDA_MIX_K_UP, 0, WKV_CUDA_F16, 20, 5, 20 * 16 * 2) == WKV_CUDA_OK);
    CHECK(put(WKV_CUDA_DECAY_UP, 0, WKV_CUDA_F16, 16, 8, 16 * 16 * 2) == WKV_CUDA_OK);
    CHECK(put(WKV_CUDA_MIX_K_DOWN, 0, WKV_CUDA_F32, 5, 20, 8 * 32 * 4 - 1) == WKV_CUDA_ARGUMENT);
    CHECK(put(WKV_CUDA_MIX_K_DOWN, 0, 3, 5, 20, 8 * 32 * 4) == WKV_CUDA_ARGUMENT);
    CHECK(std::string(failure.text) == "there is no type 3");
    CHECK(put(WKV_CUDA_MIX_K_DOWN, 0, WKV_CUDA_F32, 6, 20, 8 * 32 * 4) == WKV_CUDA_ARGUMENT);
    CHECK(std::string(failure.text) == "the LoRA matrix 1 is 6 x 20, not 5 x 20");
    CHECK(put(WKV_CUDA_MIX_K_DOWN, 2, WKV_CUDA_F32, 5, 20, 8 * 32 * 4) == WKV_CUDA_ARGUMENT);
    CHECK(put(WKV_CUDA_RATE_DOWN, 0, WKV_CUDA_F32, 5, 20, 8 * 32 * 4) == WKV_CUDA_ARGUMENT);
    CHECK(std::string(failure.text) ==
          "such a model has no LoRA matrix " + std::to_string(WKV_CUDA_RATE_DOWN) + " in layer 0");
    CHECK(put(-1, 0, WKV_CUDA_F32, 5, 20, 8 * 32 * 4) == WKV_CUDA_ARGUMENT);
    CHECK(put(WKV_CUDA_LORA_MATRICES, 0, WKV_CUDA_F32, 5, 20, 8 * 32 * 4) == WKV_CUDA_ARGUMENT);
    CHECK(cuda_api().put_lora_matrix(model.get(), WKV_CUDA_MIX_K_DOWN, 0, nullptr, &failure) ==
          WKV_CUDA_ARGUMENT);
  }

  TEST_CASE("refuses tensors that do not fit, and steps before all are there") {
    CudaModel model = cuda_model_of(kSmallShape);
    const Floats numbers(64);
    WkvCudaFailure failure{};
    const auto vector = [&](int name, int layer, std::uint64_t count) {
      return cuda_api().put_vector(model.get(), name, layer, numbers.data(), count, &failure);
    };
    CHECK(vector(WKV_CUDA_LN0_WEIGHT, 0, 20) == WKV_CUDA_OK);
    CHECK(vector(WKV_CUDA_LN0_WEIGHT, 0, 21) == WKV_CUDA_ARGUMENT);
    CHECK(std::string(failure.text) == "the vector 0 has 21 numbers, not 20");
    CHECK(vector(WKV_CUDA_ATT_DECAY, 0, 20) == WKV_CUDA_ARGUMENT);
    CHECK(vector(WKV_CUDA_ATT_DECAY, 1, 16) == WKV_CUDA_ARGUMENT);
    CHECK(vector(WKV_CUDA_ATT_DECAY, -1, 16) == WKV_CUDA_ARGUMENT);
    CHECK(vector(WKV_CUDA_VECTORS, 0, 20) == WKV_CUDA_ARGUMENT);
    CHECK(vector(-1, 0, 20) == WKV_CUDA_ARGUMENT);
    CHECK(cuda_api().put_vector(model.get(), WKV_CUDA_LN0_BIAS, 0, nullptr, 20, &failure) ==
          WKV_CUDA_ARGUMENT);

    const std::vector<unsigned char> panels(8192);
    const auto matrix = [&](std::uint64_t bytes, int rows, int group, int bits = 8) {
      const WkvCudaMatrix weights{panels.data(), bytes, bits, rows, 20, group, nullptr};
      return cuda_api().put_matrix(model.get(), WKV_CUDA_FFN_KEY, 0, &weights, &failure);
    };
    // Of 30 x 20 in groups of 16: one panel of 32 columns and two scales.
    CHECK(matrix(32 * 40, 30, 16) == WKV_CUDA_OK);
    CHECK(matrix(32 * 40 - 1, 30, 16) == WKV_CUDA_ARGUMENT);
    CHECK(matrix(32 * 40 + 64, 30, 16) == WKV_CUDA_ARGUMENT);
    CHECK(matrix(32 * 40, 31, 16) == WKV_CUDA_ARGUMENT);
    CHECK(matrix(32 * 40, 30, 0) == WKV_CUDA_ARGUMENT);
    CHECK(matrix(32 * 40, 30, 24) == WKV_CUDA_ARGUMENT);
    CHECK(has(failure.text, "groups of 24 columns, expected a multiple of 16 up to 65536"));
    // In 4 bits: 32 columns, a pair of units and two groups.
    CHECK(matrix(32 * 16 + 32 + 2 * 32, 30, 16, 4) == WKV_CUDA_OK);
    CHECK(matrix(32 * 16 + 32 + 2 * 32 - 1, 30, 16, 4) == WKV_CUDA_ARGUMENT);
    CHECK(matrix(32 * 16 + 32 + 32, 30, 272, 4) == WKV_CUDA_ARGUMENT);
    CHECK(has(failure.text, "groups of 272 columns, expected a multiple of 16 up to 256"));
    CHECK(matrix(32 * 40, 30, 16, 5) == WKV_CUDA_ARGUMENT);
    CHECK(has(failure.text, "has 5 bits a weight, expected 8 or 4"));
    CHECK(cuda_api().put_embedding(model.get(), WKV_CUDA_BF16, panels.data(), 11 * 20 * 2, &failure) ==
          WKV_CUDA_OK);
    CHECK(cuda_api().put_embedding(model.get(), WKV_CUDA_F32, panels.data(), 11 * 20 * 2, &failure) ==
          WKV_CUDA_ARGUMENT);
    CHECK(cuda_api().put_embedding(model.get(), 3, panels.data(), 11 * 20 * 4, &failure) ==
          WKV_CUDA_ARGUMENT);

    const CudaPage page = cuda_page_of(model);
    const std::uint32_t token = 1;
    const WkvCudaSegment segment{page.get(), &token, 1, WKV_CUDA_LOGITS_NONE, nullptr};
    CHECK(cuda_api().step(model.get(), &segment, 1, nullptr, &failure) == WKV_CUDA_ARGUMENT);
    CHECK(std::string(failure.text) == "the model has no vector 1 of layer 0 yet");
  }

  TEST_CASE("refuses steps that make no sense") {
    CudaModel model;
    CudaModel other_model;
    REQUIRE(create_cuda_model(kSmallShape, model).code == WKV_CUDA_OK);
    REQUIRE(create_cuda_model(kSmallShape, other_model).code == WKV_CUDA_OK);
    const CudaPage page = cuda_page_of(model);
    const CudaPage second = cuda_page_of(model);
    const CudaPage other = cuda_page_of(other_model);
    const std::uint32_t tokens[17] = {};
    const std::uint32_t beyond[2] = {1, 11};
    Floats logits(11);
    const auto refused = [&](const std::vector<WkvCudaSegment>& segments, float* to) {
      WkvCudaFailure failure{};
      CHECK(cuda_api().step(model.get(), segments.data(), static_cast<std::int32_t>(segments.size()), to,
                            &failure) == WKV_CUDA_ARGUMENT);
      return std::string(failure.text);
    };
    CHECK(refused({}, logits.data()) == "segments is null");
    CHECK(refused({{page.get(), tokens, 0, 0, nullptr}}, logits.data()) == "a segment has no tokens");
    CHECK(refused({{page.get(), tokens, 17, 0, nullptr}}, logits.data()) ==
          "a step of 17 tokens, expected at most 16");
    CHECK(refused({{page.get(), tokens, 2, 0, nullptr}, {page.get(), tokens, 2, 0, nullptr}},
                  logits.data()) == "two segments of a step have the same page");
    CHECK(refused({{other.get(), tokens, 2, 0, nullptr}}, logits.data()) ==
          "a segment's page is of another model");
    CHECK(refused({{nullptr, tokens, 2, 0, nullptr}}, logits.data()) == "a segment's page is null");
    CHECK(refused({{page.get(), beyond, 2, 0, nullptr}}, logits.data()) ==
          "the token 11 is beyond the vocabulary of 11");
    CHECK(refused({{page.get(), tokens, 2, 3, nullptr}}, logits.data()) ==
          "a segment wants logits of kind 3");
    CHECK(refused({{page.get(), tokens, 2, 1, nullptr}}, nullptr) == "logits is null");
    CHECK(refused(std::vector<WkvCudaSegment>(5, {page.get(), tokens, 1, 0, nullptr}), logits.data()) ==
          "a step of 5 segments, expected 1 to 4");
    CHECK(cuda_api().step(nullptr, nullptr, 0, nullptr, nullptr) == WKV_CUDA_ARGUMENT);
  }

  TEST_CASE("refuses draws that make no sense") {
    CudaModel model = cuda_model_of(kSmallShape);
    const CudaPage page = cuda_page_of(model);
    const std::uint32_t token = 1;
    std::vector<WkvCudaEdit> edits = {{3, 0, 0}, {10, 0, 0}};
    std::vector<std::uint32_t> forbidden = {0, 4};
    const auto refused = [&](auto change, std::int32_t logits = WKV_CUDA_LOGITS_NONE) {
      WkvCudaDraw draw{.temperature = 1,
                       .top_p = 0.5,
                       .min_p = 0.1,
                       .top_k = 3,
                       .random = 0.5,
                       .edits = edits.data(),
                       .edit_count = 2,
                       .forbidden = forbidden.data(),
                       .forbidden_count = 2,
                       .token = 77};
      change(draw);
      const WkvCudaSegment segment{page.get(), &token, 1, logits, &draw};
      WkvCudaFailure failure{};
      CHECK(cuda_api().step(model.get(), &segment, 1, nullptr, &failure) == WKV_CUDA_ARGUMENT);
      CHECK(draw.token == 77);
      return std::string(failure.text);
    };
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    CHECK(refused([](WkvCudaDraw&) {}) == "the model has no embedding yet");
    CHECK(refused([](WkvCudaDraw&) {}, WKV_CUDA_LOGITS_LAST) == "a segment wants both logits and a draw");
    CHECK(refused([](WkvCudaDraw& d) { d.temperature = -1; }) ==
          "a draw has the temperature -1.000000, expected a finite number from 0 on");
    CHECK(has(refused([](WkvCudaDraw& d) { d.temperature = kNaN; }), "the temperature nan"));
    CHECK(has(refused([](WkvCudaDraw& d) { d.temperature = 1 / 0.0; }), "the temperature inf"));
    CHECK(has(refused([](WkvCudaDraw& d) { d.top_p = 1.5; }), "the top_p 1.5"));
    CHECK(has(refused([](WkvCudaDraw& d) { d.min_p = -0.5; }), "the min_p -0.5"));
    CHECK(has(refused([](WkvCudaDraw& d) { d.random = 1; }),
              "the random number 1.000000, expected a number from 0 to below 1"));
    CHECK(refused([](WkvCudaDraw& d) { d.edits = nullptr; }) == "a draw's edits are null");
    CHECK(refused([](WkvCudaDraw& d) { d.forbidden = nullptr; }) == "a draw's forbidden tokens are null");
    CHECK(refused([](WkvCudaDraw& d) { d.edit_count = 4097; }) ==
          "a draw's edits are 4097, expected at most 4096");
    edits[1].token = 11;
    CHECK(refused([](WkvCudaDraw&) {}) == "a draw's edits have the token 11, beyond the vocabulary of 11");
    edits[1].token = 3;
    CHECK(refused([](WkvCudaDraw&) {}) == "a draw's edits are not in ascending order of tokens");
    edits[1].token = 10;
    forbidden = {4, 0};
    CHECK(refused([](WkvCudaDraw&) {}) == "a draw's forbidden tokens are not in ascending order of tokens");
    CHECK(cuda_api().read_logits(page.get(), nullptr, nullptr) == WKV_CUDA_ARGUMENT);
    CHECK(cuda_api().read_logits(nullptr, nullptr, nullptr) == WKV_CUDA_ARGUMENT);
  }
}
