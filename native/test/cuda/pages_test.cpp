// Pages of states: how they begin, are copied, packed and read, on the simulated GPU.

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "test/cuda/library.h"
#include "test/support/numbers.h"

using wkv::test::cuda_api;
using wkv::test::cuda_model_of;
using wkv::test::cuda_page_of;
using wkv::test::CudaModel;
using wkv::test::CudaPage;
using wkv::test::Floats;
using wkv::test::has;
using wkv::test::kSmallShape;
using wkv::test::WithMachine;

namespace {

constexpr std::size_t kPageFloats = 2 * 20 + 2 * 8 * 8;

}  // namespace

TEST_SUITE("CUDA pages") {
  TEST_CASE("pages begin as zeros, are written, copied and read, and are used again") {
    CudaModel model = cuda_model_of(kSmallShape);
    std::mt19937 random(1);
    const Floats numbers = wkv::test::random_floats(random, kPageFloats);
    Floats read(kPageFloats, 5);
    std::vector<CudaPage> pages;
    for (int i = 0; i < 9; ++i) pages.push_back(cuda_page_of(model));
    CHECK(cuda_api().read_page(pages[4].get(), read.data(), nullptr) == WKV_CUDA_OK);
    CHECK(read == Floats(kPageFloats));
    CHECK(cuda_api().write_page(pages[4].get(), numbers.data(), nullptr) == WKV_CUDA_OK);
    WkvCudaPage* copied = nullptr;
    CHECK(cuda_api().copy_page(pages[4].get(), WKV_CUDA_F32, &copied, nullptr) == WKV_CUDA_OK);
    const CudaPage copy(copied);
    CHECK(cuda_api().write_page(pages[4].get(), Floats(kPageFloats, 1).data(), nullptr) == WKV_CUDA_OK);
    CHECK(cuda_api().read_page(copy.get(), read.data(), nullptr) == WKV_CUDA_OK);
    CHECK(read == numbers);
    CHECK(cuda_api().read_page(pages[5].get(), read.data(), nullptr) == WKV_CUDA_OK);
    CHECK(read == Floats(kPageFloats));
    const std::size_t blocks = wkv::cuda::simt::blocks_in_use();
    pages.erase(pages.begin() + 4);
    const CudaPage again = cuda_page_of(model);
    CHECK(cuda_api().read_page(again.get(), read.data(), nullptr) == WKV_CUDA_OK);
    CHECK(read == Floats(kPageFloats));
    CHECK(wkv::cuda::simt::blocks_in_use() == blocks);
    CHECK(cuda_api().read_page(nullptr, read.data(), nullptr) == WKV_CUDA_ARGUMENT);
    CHECK(cuda_api().copy_page(again.get(), WKV_CUDA_F32, nullptr, nullptr) == WKV_CUDA_ARGUMENT);
    CHECK(cuda_api().copy_page(nullptr, WKV_CUDA_F32, &copied, nullptr) == WKV_CUDA_ARGUMENT);
    // A state can be read when its model is gone.
    model = nullptr;
    CHECK(cuda_api().read_page(copy.get(), read.data(), nullptr) == WKV_CUDA_OK);
    CHECK(read == numbers);
  }

  TEST_CASE("a packed page has half as many bytes, and is for copies and reading alone") {
    constexpr std::size_t kHalves = 2 * (20 + 2) + 2 * (8 * 8 + 2);
    CudaModel model = cuda_model_of(kSmallShape);
    const CudaPage unpacked = cuda_page_of(model);
    Floats numbers(kPageFloats);
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i) + 0x1p-14F;
    CHECK(cuda_api().write_page(unpacked.get(), numbers.data(), nullptr) == WKV_CUDA_OK);
    const auto copy_of = [](const CudaPage& page, WkvCudaType type) {
      WkvCudaPage* copied = nullptr;
      REQUIRE(cuda_api().copy_page(page.get(), type, &copied, nullptr) == WKV_CUDA_OK);
      return CudaPage(copied);
    };
    const CudaPage packed = copy_of(unpacked, WKV_CUDA_F16);
    const CudaPage unpacked_again = copy_of(copy_of(packed, WKV_CUDA_F16), WKV_CUDA_F32);
    Floats rounded(kPageFloats);
    for (std::size_t i = 0; i < rounded.size(); ++i) rounded[i] = static_cast<float>(i);
    rounded[0] = 0x1p-14F;
    Floats read(kPageFloats);
    CHECK(cuda_api().read_page(unpacked_again.get(), read.data(), nullptr) == WKV_CUDA_OK);
    CHECK(read == rounded);
    std::vector<std::uint16_t> halves(kHalves + 1, 0xabcd);
    CHECK(cuda_api().read_page(packed.get(), halves.data(), nullptr) == WKV_CUDA_OK);
    CHECK(halves.back() == 0xabcd);
    // The last head's scale is 2^-7, its first number 104.
    CHECK(halves[kHalves - 8 * 8 - 1] == 0x3c00);
    CHECK(halves[kHalves - 8 * 8] == 0x7280);

    WkvCudaFailure failure{};
    CHECK(cuda_api().write_page(packed.get(), numbers.data(), &failure) == WKV_CUDA_ARGUMENT);
    CHECK(failure.text == std::string("the page to write to is packed"));
    const std::uint32_t token = 1;
    const WkvCudaSegment segment{packed.get(), &token, 1, WKV_CUDA_LOGITS_NONE, nullptr};
    CHECK(cuda_api().step(model.get(), &segment, 1, nullptr, &failure) == WKV_CUDA_ARGUMENT);
    CHECK(failure.text == std::string("a segment's page is packed"));
    WkvCudaPage* none = nullptr;
    CHECK(cuda_api().copy_page(unpacked.get(), WKV_CUDA_BF16, &none, &failure) == WKV_CUDA_ARGUMENT);
    CHECK(failure.text == std::string("a page has no type 2"));
    CHECK(none == nullptr);
  }

  TEST_CASE("the logarithms of RWKV-4 stay exact when they are packed") {
    constexpr std::size_t kChannels = 16;
    WkvCudaShape shape = kSmallShape;
    shape.architecture = WKV_CUDA_RWKV4;
    shape.heads = kChannels;
    shape.head_size = 1;
    CudaModel model = cuda_model_of(shape);
    CudaPage page = cuda_page_of(model);
    const Floats numbers(2 * 20 + 3 * kChannels, 1.0F / 3);
    CHECK(cuda_api().write_page(page.get(), numbers.data(), nullptr) == WKV_CUDA_OK);
    for (const WkvCudaType type : {WKV_CUDA_F16, WKV_CUDA_F32}) {
      WkvCudaPage* copied = nullptr;
      REQUIRE(cuda_api().copy_page(page.get(), type, &copied, nullptr) == WKV_CUDA_OK);
      page.reset(copied);
    }
    Floats read(numbers.size());
    CHECK(cuda_api().read_page(page.get(), read.data(), nullptr) == WKV_CUDA_OK);
    for (std::size_t i = 0; i < read.size(); ++i) {
      CAPTURE(i);
      CHECK((read[i] == numbers[i]) == (i >= read.size() - kChannels));
    }
  }

  TEST_CASE("packed pages leave half of the memory to the others") {
    const WithMachine with({.memory = std::size_t{1} << 20});
    CudaModel model = cuda_model_of(kSmallShape);
    const CudaPage unpacked = cuda_page_of(model);
    std::vector<CudaPage> packed;
    WkvCudaFailure failure{};
    for (;;) {
      WkvCudaPage* copied = nullptr;
      if (cuda_api().copy_page(unpacked.get(), WKV_CUDA_F16, &copied, &failure) != WKV_CUDA_OK) break;
      packed.emplace_back(copied);
    }
    CHECK(failure.code == WKV_CUDA_MEMORY);
    CHECK(failure.text == std::string("packed states have all the memory of the GPU that they may have"));
    // [20 + 2, twice], [2 heads of 64 + 2], in halves, and 11 logits, in whole 256 bytes.
    CHECK(packed.size() * 512 <= (std::size_t{1} << 19));
    CHECK(packed.size() * 512 > (std::size_t{1} << 18));
    packed.pop_back();
    WkvCudaPage* copied = nullptr;
    CHECK(cuda_api().copy_page(unpacked.get(), WKV_CUDA_F16, &copied, nullptr) == WKV_CUDA_OK);
    packed.emplace_back(copied);
    CHECK(cuda_page_of(model) != nullptr);
  }
}
