// The table of functions, on the simulated GPU.

#include <doctest/doctest.h>

#include <limits>
#include <memory>
#include <string>

#include "backend/cuda/api.h"
#include "simt/runtime.h"
#include "simt/simt.h"
#include "test/cuda/random_weights.h"
#include "test/support/refusal.h"

extern "C" const WkvCudaApi* wkv_cuda_api(uint32_t version);

using wkv::cuda::simt::Machine;
using wkv::test::Floats;
using wkv::test::RandomWeights;

namespace {

const WkvCudaApi& api() { return *wkv_cuda_api(WKV_CUDA_API_VERSION); }

constexpr WkvCudaShape kShape{.architecture = WKV_CUDA_RWKV5,
                              .layers = 1,
                              .channels = 20,
                              .heads = 2,
                              .head_size = 8,
                              .feed_forward = 30,
                              .vocabulary = 11,
                              .max_tokens = 16,
                              .max_segments = 4,
                              .group_norm_epsilon = 64e-5F,
                              .mix_rank = 0,
                              .decay_rank = 0,
                              .rate_rank = 0,
                              .value_rank = 0,
                              .gate_rank = 0};
constexpr std::size_t kPageFloats = 2 * 20 + 2 * 8 * 8;

// A machine that is as it was before when the test ends.
struct With {
  explicit With(const Machine& machine) { wkv::cuda::simt::set_machine(machine); }
  ~With() { wkv::cuda::simt::set_machine({}); }
};

struct Answer {
  int code;
  std::string text;
};

struct DestroyModel {
  void operator()(WkvCudaModel* model) const { api().destroy_model(model); }
};
using Model = std::unique_ptr<WkvCudaModel, DestroyModel>;
struct DestroyPage {
  void operator()(WkvCudaPage* page) const { api().destroy_page(page); }
};
using Page = std::unique_ptr<WkvCudaPage, DestroyPage>;

Answer create(const WkvCudaShape& shape, Model& model, std::uint64_t weight_bytes = 0, int device = 0) {
  WkvCudaFailure failure{};
  WkvCudaModel* created = nullptr;
  const int code = api().create_model(device, &shape, weight_bytes, &created, &failure);
  CHECK((created == nullptr) == (code != WKV_CUDA_OK));
  model.reset(created);
  return {code, failure.text};
}

Page page_of(const Model& model) {
  WkvCudaPage* page = nullptr;
  REQUIRE(api().create_page(model.get(), &page, nullptr) == WKV_CUDA_OK);
  return Page(page);
}

Answer answer_of_machine(const Machine& machine) {
  const With with(machine);
  Model model;
  return create(kShape, model);
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_SUITE("CUDA library") {
  TEST_CASE("is of one version") {
    CHECK(api().version == WKV_CUDA_API_VERSION);
    CHECK(wkv_cuda_api(WKV_CUDA_API_VERSION + 1) == nullptr);
    CHECK(wkv_cuda_api(0) == nullptr);
  }

  TEST_CASE("says that there is no driver") {
    const Answer answer = answer_of_machine({.driver = 0});
    CHECK(answer.code == WKV_CUDA_NO_DRIVER);
    CHECK(answer.text == "there is no NVIDIA driver on this machine");
  }

  TEST_CASE("says which driver is too old, and what it needs") {
    const Answer answer = answer_of_machine({.driver = 12'040});
    CHECK(answer.code == WKV_CUDA_OLD_DRIVER);
    CHECK(answer.text ==
          "the NVIDIA driver is too old: it supports CUDA 12.4, and the library needs CUDA 13.0");
  }

  TEST_CASE("says that there is no GPU, or not the one that was asked for") {
    const Answer none = answer_of_machine({.devices = 0});
    CHECK(none.code == WKV_CUDA_NO_DEVICE);
    CHECK(none.text == "there is no NVIDIA GPU on this machine");
    Model model;
    const Answer other = create(kShape, model, 0, 3);
    CHECK(other.code == WKV_CUDA_NO_DEVICE);
    CHECK(other.text == "there is no CUDA device 3: there is 1");
  }

  TEST_CASE("says for which GPU it has no code") {
    const Answer answer = answer_of_machine({.architecture = 61});
    CHECK(answer.code == WKV_CUDA_ARCHITECTURE);
    CHECK(answer.text ==
          "the library has no code for the Simulated GPU, compute capability 6.1; it needs 7.5 or later");
  }

  TEST_CASE("says what there is too little memory for, and leaves none of it taken") {
    const Answer buffers = answer_of_machine({.memory = 5000});
    CHECK(buffers.code == WKV_CUDA_MEMORY);
    CHECK(has(buffers.text, "not enough memory on the GPU while making room for a step"));
    Model model;
    const Answer weights = create(kShape, model, std::uint64_t{1} << 40);
    CHECK(weights.code == WKV_CUDA_MEMORY);
    CHECK(has(weights.text, "the weights take 1048576 MiB, but only 10"));
    CHECK(wkv::cuda::simt::blocks_in_use() == 0);
    CHECK(wkv::cuda::simt::graphs_in_use() == 0);
  }

  TEST_CASE("describes devices") {
    const With with({.devices = 2, .architecture = 90, .memory = std::size_t{1} << 30});
    std::int32_t count = 0;
    CHECK(api().count_devices(&count, nullptr) == WKV_CUDA_OK);
    CHECK(count == 2);
    WkvCudaDevice device{};
    CHECK(api().describe_device(1, &device, nullptr) == WKV_CUDA_OK);
    CHECK(std::string(device.name) == "Simulated GPU");
    CHECK(device.major == 9);
    CHECK(device.minor == 0);
    CHECK(device.memory == std::uint64_t{1} << 30);
    CHECK(api().describe_device(2, &device, nullptr) == WKV_CUDA_NO_DEVICE);
    CHECK(api().describe_device(-1, &device, nullptr) == WKV_CUDA_NO_DEVICE);
  }

  TEST_CASE("a GPU that it has no code for is no trouble to what the thread does next") {
    const With with({.devices = 2, .old_device = 0});
    WkvCudaDevice device{};
    WkvCudaFailure failure{};
    CHECK(api().describe_device(0, &device, &failure) == WKV_CUDA_ARCHITECTURE);
    CHECK(has(failure.text, "compute capability 6.1"));
    // What it leaves, the next step would take for its own.
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK(api().describe_device(1, &device, nullptr) == WKV_CUDA_OK);
    CHECK(device.major == 8);
    Model model;
    CHECK(create(kShape, model, 0, 0).code == WKV_CUDA_ARCHITECTURE);
    CHECK(create(kShape, model, 0, 1).code == WKV_CUDA_OK);
  }

  TEST_CASE("refuses models that the kernels do not take, by name") {
    const auto refused = [](auto change) {
      WkvCudaShape shape = kShape;
      change(shape);
      Model model;
      const Answer answer = create(shape, model);
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
      WkvCudaShape shape = kShape;
      change(shape);
      Model model;
      return create(shape, model);
    };
    CHECK(answer([](WkvCudaShape& s) { s.architecture = 5; }).text == "there is no architecture 5");
    CHECK(answer([](WkvCudaShape& s) { s.architecture = -1; }).code == WKV_CUDA_ARGUMENT);
    const Answer of_4 = answer([](WkvCudaShape& s) { s.architecture = WKV_CUDA_RWKV4; });
    CHECK(of_4.code == WKV_CUDA_UNSUPPORTED);
    CHECK(has(of_4.text, "1 to 1 channels in a head, not 8"));
    const Answer of_5 = answer([](WkvCudaShape& s) { s.decay_rank = 8; });
    CHECK(of_5.code == WKV_CUDA_ARGUMENT);
    CHECK(of_5.text == "such a model has no matrices of its decay");
    const auto six = [](WkvCudaShape& s) {
      s.architecture = WKV_CUDA_RWKV6;
      s.mix_rank = 4;
      s.decay_rank = 8;
    };
    CHECK(answer(six).code == WKV_CUDA_OK);
    const Answer without = answer([&](WkvCudaShape& s) {
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
    WkvCudaShape shape = kShape;
    shape.architecture = WKV_CUDA_RWKV6;
    shape.layers = 2;
    shape.mix_rank = 5;
    shape.decay_rank = 8;
    Model model;
    REQUIRE(create(shape, model).code == WKV_CUDA_OK);
    WkvCudaFailure failure{};
    const Floats numbers(2048);
    CHECK(api().put_vector(model.get(), WKV_CUDA_ATT_MIX_X, 1, numbers.data(), 20, &failure) == WKV_CUDA_OK);
    CHECK(api().put_vector(model.get(), WKV_CUDA_ATT_R_K, 1, numbers.data(), 16, &failure) ==
          WKV_CUDA_ARGUMENT);
    CHECK(std::string(failure.text) ==
          "such a model has no vector " + std::to_string(WKV_CUDA_ATT_R_K) + " in layer 1");
    const auto put = [&](int name, int layer, int type, int rows, int columns, std::uint64_t bytes) {
      const WkvCudaLoraMatrix matrix{numbers.data(), bytes, type, rows, columns};
      return api().put_lora_matrix(model.get(), name, layer, &matrix, &failure);
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
    CHECK(api().put_lora_matrix(model.get(), WKV_CUDA_MIX_K_DOWN, 0, nullptr, &failure) == WKV_CUDA_ARGUMENT);
  }

  TEST_CASE("refuses tensors that do not fit, and steps before all are there") {
    Model model;
    REQUIRE(create(kShape, model).code == WKV_CUDA_OK);
    const Floats numbers(64);
    WkvCudaFailure failure{};
    const auto vector = [&](int name, int layer, std::uint64_t count) {
      return api().put_vector(model.get(), name, layer, numbers.data(), count, &failure);
    };
    CHECK(vector(WKV_CUDA_LN0_WEIGHT, 0, 20) == WKV_CUDA_OK);
    CHECK(vector(WKV_CUDA_LN0_WEIGHT, 0, 21) == WKV_CUDA_ARGUMENT);
    CHECK(std::string(failure.text) == "the vector 0 has 21 numbers, not 20");
    CHECK(vector(WKV_CUDA_ATT_DECAY, 0, 20) == WKV_CUDA_ARGUMENT);
    CHECK(vector(WKV_CUDA_ATT_DECAY, 1, 16) == WKV_CUDA_ARGUMENT);
    CHECK(vector(WKV_CUDA_ATT_DECAY, -1, 16) == WKV_CUDA_ARGUMENT);
    CHECK(vector(WKV_CUDA_VECTORS, 0, 20) == WKV_CUDA_ARGUMENT);
    CHECK(vector(-1, 0, 20) == WKV_CUDA_ARGUMENT);
    CHECK(api().put_vector(model.get(), WKV_CUDA_LN0_BIAS, 0, nullptr, 20, &failure) == WKV_CUDA_ARGUMENT);

    const std::vector<unsigned char> panels(8192);
    const auto matrix = [&](std::uint64_t bytes, int rows, int group) {
      const WkvCudaMatrix weights{panels.data(), bytes, rows, 20, group, nullptr};
      return api().put_matrix(model.get(), WKV_CUDA_FFN_KEY, 0, &weights, &failure);
    };
    // Of 30 x 20 in groups of 16: one panel of 32 columns and two scales.
    CHECK(matrix(32 * 40, 30, 16) == WKV_CUDA_OK);
    CHECK(matrix(32 * 40 - 1, 30, 16) == WKV_CUDA_ARGUMENT);
    CHECK(matrix(32 * 40 + 64, 30, 16) == WKV_CUDA_ARGUMENT);
    CHECK(matrix(32 * 40, 31, 16) == WKV_CUDA_ARGUMENT);
    CHECK(matrix(32 * 40, 30, 0) == WKV_CUDA_ARGUMENT);
    CHECK(matrix(32 * 40, 30, 24) == WKV_CUDA_ARGUMENT);
    CHECK(api().put_embedding(model.get(), WKV_CUDA_BF16, panels.data(), 11 * 20 * 2, &failure) ==
          WKV_CUDA_OK);
    CHECK(api().put_embedding(model.get(), WKV_CUDA_F32, panels.data(), 11 * 20 * 2, &failure) ==
          WKV_CUDA_ARGUMENT);
    CHECK(api().put_embedding(model.get(), 3, panels.data(), 11 * 20 * 4, &failure) == WKV_CUDA_ARGUMENT);

    const Page page = page_of(model);
    const std::uint32_t token = 1;
    const WkvCudaSegment segment{page.get(), &token, 1, WKV_CUDA_LOGITS_NONE, nullptr};
    CHECK(api().step(model.get(), &segment, 1, nullptr, &failure) == WKV_CUDA_ARGUMENT);
    CHECK(std::string(failure.text) == "the model has no vector 1 of layer 0 yet");
  }

  TEST_CASE("refuses steps that make no sense") {
    Model model;
    Model other_model;
    REQUIRE(create(kShape, model).code == WKV_CUDA_OK);
    REQUIRE(create(kShape, other_model).code == WKV_CUDA_OK);
    const Page page = page_of(model);
    const Page second = page_of(model);
    const Page other = page_of(other_model);
    const std::uint32_t tokens[17] = {};
    const std::uint32_t beyond[2] = {1, 11};
    Floats logits(11);
    const auto refused = [&](const std::vector<WkvCudaSegment>& segments, float* to) {
      WkvCudaFailure failure{};
      CHECK(api().step(model.get(), segments.data(), static_cast<std::int32_t>(segments.size()), to,
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
    CHECK(api().step(nullptr, nullptr, 0, nullptr, nullptr) == WKV_CUDA_ARGUMENT);
  }

  TEST_CASE("refuses draws that make no sense") {
    Model model;
    REQUIRE(create(kShape, model).code == WKV_CUDA_OK);
    const Page page = page_of(model);
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
      CHECK(api().step(model.get(), &segment, 1, nullptr, &failure) == WKV_CUDA_ARGUMENT);
      CHECK(draw.token == 77);
      return std::string(failure.text);
    };
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    CHECK(refused([](WkvCudaDraw&) {}) == "the model has no embedding yet");
    CHECK(refused([](WkvCudaDraw&) {}, WKV_CUDA_LOGITS_LAST) == "a segment wants both logits and a draw");
    CHECK(refused([](WkvCudaDraw& d) { d.temperature = -1; }) == "a draw has the temperature -1.000000");
    CHECK(refused([](WkvCudaDraw& d) { d.temperature = kNaN; }) == "a draw has the temperature nan");
    CHECK(has(refused([](WkvCudaDraw& d) { d.temperature = 1 / 0.0; }), "the temperature inf"));
    CHECK(has(refused([](WkvCudaDraw& d) { d.top_p = 1.5; }), "the top_p 1.5"));
    CHECK(has(refused([](WkvCudaDraw& d) { d.min_p = -0.5; }), "the min_p -0.5"));
    CHECK(has(refused([](WkvCudaDraw& d) { d.random = 1; }), "the random number 1.0"));
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
    CHECK(api().read_logits(page.get(), nullptr, nullptr) == WKV_CUDA_ARGUMENT);
    CHECK(api().read_logits(nullptr, nullptr, nullptr) == WKV_CUDA_ARGUMENT);
  }

  TEST_CASE("pages begin as zeros, are written, copied and read, and are used again") {
    Model model;
    REQUIRE(create(kShape, model).code == WKV_CUDA_OK);
    std::mt19937 random(1);
    const Floats numbers = wkv::test::random_floats(random, kPageFloats);
    Floats read(kPageFloats, 5);
    std::vector<Page> pages;
    for (int i = 0; i < 9; ++i) pages.push_back(page_of(model));
    CHECK(api().read_page(pages[4].get(), read.data(), nullptr) == WKV_CUDA_OK);
    CHECK(read == Floats(kPageFloats));
    CHECK(api().write_page(pages[4].get(), numbers.data(), nullptr) == WKV_CUDA_OK);
    WkvCudaPage* copied = nullptr;
    CHECK(api().copy_page(pages[4].get(), WKV_CUDA_F32, &copied, nullptr) == WKV_CUDA_OK);
    const Page copy(copied);
    CHECK(api().write_page(pages[4].get(), Floats(kPageFloats, 1).data(), nullptr) == WKV_CUDA_OK);
    CHECK(api().read_page(copy.get(), read.data(), nullptr) == WKV_CUDA_OK);
    CHECK(read == numbers);
    CHECK(api().read_page(pages[5].get(), read.data(), nullptr) == WKV_CUDA_OK);
    CHECK(read == Floats(kPageFloats));
    const std::size_t blocks = wkv::cuda::simt::blocks_in_use();
    pages.erase(pages.begin() + 4);
    const Page again = page_of(model);
    CHECK(api().read_page(again.get(), read.data(), nullptr) == WKV_CUDA_OK);
    CHECK(read == Floats(kPageFloats));
    CHECK(wkv::cuda::simt::blocks_in_use() == blocks);
    CHECK(api().read_page(nullptr, read.data(), nullptr) == WKV_CUDA_ARGUMENT);
    CHECK(api().copy_page(again.get(), WKV_CUDA_F32, nullptr, nullptr) == WKV_CUDA_ARGUMENT);
    CHECK(api().copy_page(nullptr, WKV_CUDA_F32, &copied, nullptr) == WKV_CUDA_ARGUMENT);
    // A state can be read when its model is gone.
    model = nullptr;
    CHECK(api().read_page(copy.get(), read.data(), nullptr) == WKV_CUDA_OK);
    CHECK(read == numbers);
  }

  TEST_CASE("a packed page has half as many bytes, and is for copies and reading alone") {
    constexpr std::size_t kHalves = 2 * (20 + 2) + 2 * (8 * 8 + 2);
    Model model;
    REQUIRE(create(kShape, model).code == WKV_CUDA_OK);
    const Page unpacked = page_of(model);
    Floats numbers(kPageFloats);
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i) + 0x1p-14F;
    CHECK(api().write_page(unpacked.get(), numbers.data(), nullptr) == WKV_CUDA_OK);
    const auto copy_of = [](const Page& page, WkvCudaType type) {
      WkvCudaPage* copied = nullptr;
      REQUIRE(api().copy_page(page.get(), type, &copied, nullptr) == WKV_CUDA_OK);
      return Page(copied);
    };
    const Page packed = copy_of(unpacked, WKV_CUDA_F16);
    const Page unpacked_again = copy_of(copy_of(packed, WKV_CUDA_F16), WKV_CUDA_F32);
    Floats rounded(kPageFloats);
    for (std::size_t i = 0; i < rounded.size(); ++i) rounded[i] = static_cast<float>(i);
    rounded[0] = 0x1p-14F;
    Floats read(kPageFloats);
    CHECK(api().read_page(unpacked_again.get(), read.data(), nullptr) == WKV_CUDA_OK);
    CHECK(read == rounded);
    std::vector<std::uint16_t> halves(kHalves + 1, 0xabcd);
    CHECK(api().read_page(packed.get(), halves.data(), nullptr) == WKV_CUDA_OK);
    CHECK(halves.back() == 0xabcd);
    // The last head's scale is 2^-7, its first number 104.
    CHECK(halves[kHalves - 8 * 8 - 1] == 0x3c00);
    CHECK(halves[kHalves - 8 * 8] == 0x7280);

    WkvCudaFailure failure{};
    CHECK(api().write_page(packed.get(), numbers.data(), &failure) == WKV_CUDA_ARGUMENT);
    CHECK(failure.text == std::string("the page to write to is packed"));
    const std::uint32_t token = 1;
    const WkvCudaSegment segment{packed.get(), &token, 1, WKV_CUDA_LOGITS_NONE, nullptr};
    CHECK(api().step(model.get(), &segment, 1, nullptr, &failure) == WKV_CUDA_ARGUMENT);
    CHECK(failure.text == std::string("a segment's page is packed"));
    WkvCudaPage* none = nullptr;
    CHECK(api().copy_page(unpacked.get(), WKV_CUDA_BF16, &none, &failure) == WKV_CUDA_ARGUMENT);
    CHECK(failure.text == std::string("a page has no type 2"));
    CHECK(none == nullptr);
  }

  TEST_CASE("the logarithms of RWKV-4 stay exact when they are packed") {
    constexpr std::size_t kChannels = 16;
    WkvCudaShape shape = kShape;
    shape.architecture = WKV_CUDA_RWKV4;
    shape.heads = kChannels;
    shape.head_size = 1;
    Model model;
    REQUIRE(create(shape, model).code == WKV_CUDA_OK);
    Page page = page_of(model);
    const Floats numbers(2 * 20 + 3 * kChannels, 1.0F / 3);
    CHECK(api().write_page(page.get(), numbers.data(), nullptr) == WKV_CUDA_OK);
    for (const WkvCudaType type : {WKV_CUDA_F16, WKV_CUDA_F32}) {
      WkvCudaPage* copied = nullptr;
      REQUIRE(api().copy_page(page.get(), type, &copied, nullptr) == WKV_CUDA_OK);
      page.reset(copied);
    }
    Floats read(numbers.size());
    CHECK(api().read_page(page.get(), read.data(), nullptr) == WKV_CUDA_OK);
    for (std::size_t i = 0; i < read.size(); ++i) {
      CAPTURE(i);
      CHECK((read[i] == numbers[i]) == (i >= read.size() - kChannels));
    }
  }

  TEST_CASE("packed pages leave half of the memory to the others") {
    const With with({.memory = std::size_t{1} << 20});
    Model model;
    REQUIRE(create(kShape, model).code == WKV_CUDA_OK);
    const Page unpacked = page_of(model);
    std::vector<Page> packed;
    WkvCudaFailure failure{};
    for (;;) {
      WkvCudaPage* copied = nullptr;
      if (api().copy_page(unpacked.get(), WKV_CUDA_F16, &copied, &failure) != WKV_CUDA_OK) break;
      packed.emplace_back(copied);
    }
    CHECK(failure.code == WKV_CUDA_MEMORY);
    CHECK(failure.text == std::string("packed states have all the memory of the GPU that they may have"));
    // [20 + 2, twice], [2 heads of 64 + 2], in halves, and 11 logits, in whole 256 bytes.
    CHECK(packed.size() * 512 <= (std::size_t{1} << 19));
    CHECK(packed.size() * 512 > (std::size_t{1} << 18));
    packed.pop_back();
    WkvCudaPage* copied = nullptr;
    CHECK(api().copy_page(unpacked.get(), WKV_CUDA_F16, &copied, nullptr) == WKV_CUDA_OK);
    packed.emplace_back(copied);
    CHECK(page_of(model) != nullptr);
  }

  TEST_CASE("a GPU that is lost is refused whatever is asked of it") {
    const auto refused = [](auto ask) {
      WkvCudaFailure failure{};
      CHECK(ask(&failure) == WKV_CUDA_LOST);
      CHECK(has(failure.text, "the GPU failed while "));
      CHECK(has(failure.text, ": cudaErrorLaunchFailure, as simulated"));
    };
    Model model;
    REQUIRE(create(kShape, model).code == WKV_CUDA_OK);
    const Page page = page_of(model);
    Floats numbers(kPageFloats);
    const auto read = [&](WkvCudaFailure* failure) {
      return api().read_page(page.get(), numbers.data(), failure);
    };
    {
      const With with({.lost_after = 0});
      refused(read);
      std::int32_t count = 0;
      refused([&](WkvCudaFailure* failure) { return api().count_devices(&count, failure); });
      WkvCudaDevice device{};
      refused([&](WkvCudaFailure* failure) { return api().describe_device(0, &device, failure); });
      WkvCudaModel* other = nullptr;
      refused([&](WkvCudaFailure* failure) { return api().create_model(0, &kShape, 0, &other, failure); });
      CHECK(other == nullptr);
    }
    // Nobody knows what became of the model's memory.
    refused(read);
    refused([&](WkvCudaFailure* failure) {
      return api().put_vector(model.get(), WKV_CUDA_LN0_WEIGHT, 0, numbers.data(), 20, failure);
    });
    WkvCudaPage* other = nullptr;
    refused([&](WkvCudaFailure* failure) { return api().create_page(model.get(), &other, failure); });
    CHECK(other == nullptr);
    Model again;
    CHECK(create(kShape, again).code == WKV_CUDA_OK);
  }

  TEST_CASE("a GPU that is lost is named so, and everything ends in order") {
    const RandomWeights random({}, 1);
    {
      const auto network = wkv::test::on_gpu(random, api(), 64e-5F);
      const auto workspace = network->create_workspace(1);
      const auto state = network->create_numbers();
      const std::uint32_t token = 3;
      const wkv::Segment segment{{&token, 1}, nullptr, wkv::Logits::kNone, state.get(), nullptr};
      const auto step = [&] {
        static_cast<void>(network->step({&segment, 1}, *workspace, wkv::ThreadPool::process(), 1, {},
                                        [] { return false; }));
      };
      step();
      const With with({.lost_after = 0});
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
