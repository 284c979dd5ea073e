#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <mutex>
#include <numeric>
#include <vector>

#include "engine/elements.h"
#include "test/support/matrices.h"
#include "test/support/model_file.h"
#include "test/support/numbers.h"
#include "test/support/refusal.h"

using wkv::StoredType;
using wkv::TensorDirectory;
using wkv::test::Floats;
using wkv::test::kTypes;
using wkv::test::Layout;
using wkv::test::refusal;
using wkv::test::rounded;
using wkv::test::TemporaryDirectory;
using wkv::test::Tensors;

namespace {

const std::atomic<bool> kGoOn{false};

Floats widened(StoredType type, const std::vector<unsigned char>& bytes) {
  Floats values(bytes.size() / static_cast<std::size_t>(bytes_of(type)));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t half = 0;
    if (type == StoredType::kF32) {
      std::memcpy(&values[i], bytes.data() + i * 4, 4);
      continue;
    }
    std::memcpy(&half, bytes.data() + i * 2, 2);
    values[i] = type == StoredType::kF16 ? wkv::f16_to_f32(half) : wkv::bf16_to_f32(half);
  }
  return values;
}

// What is shown of each tensor, put together.
std::vector<Floats> shown(const TensorDirectory& directory, StoredType type, unsigned threads) {
  std::vector<std::vector<unsigned char>> bytes;
  for (const auto& tensor : directory.tensors) {
    bytes.emplace_back(static_cast<std::size_t>(element_count(tensor) * bytes_of(type)), 0xff);
  }
  wkv::read_elements(directory, type, threads, kGoOn, {},
                     [&](std::size_t tensor, std::uint64_t first, std::span<const unsigned char> elements) {
                       std::memcpy(bytes[tensor].data() + first * static_cast<std::uint64_t>(bytes_of(type)),
                                   elements.data(), elements.size());
                     });
  std::vector<Floats> values;
  values.reserve(bytes.size());
  for (const auto& tensor : bytes) values.push_back(widened(type, tensor));
  return values;
}

Floats counted(std::size_t count) {
  Floats values(count);
  std::iota(values.begin(), values.end(), 1.0F);
  return values;
}

// A file of `count` numbers from 1 on, and a tensor that is laid out in it as told.
TensorDirectory view(const TemporaryDirectory& folder, std::size_t count, std::vector<std::int64_t> shape,
                     std::vector<std::int64_t> strides) {
  const Tensors tensors = {{"all", {.shape = {static_cast<std::int64_t>(count)}, .values = counted(count)}}};
  TensorDirectory directory = wkv::test::write_tensors(folder.file("view"), tensors);
  directory.tensors[0].shape = std::move(shape);
  directory.tensors[0].strides = std::move(strides);
  return directory;
}

// The bytes that are shown at once at most.
std::size_t longest_run(const TensorDirectory& directory) {
  std::mutex mutex;
  std::size_t longest = 0;
  wkv::read_elements(directory, StoredType::kF32, 2, kGoOn, {},
                     [&](std::size_t, std::uint64_t, std::span<const unsigned char> elements) {
                       const std::lock_guard lock{mutex};
                       longest = std::max(longest, elements.size());
                     });
  return longest;
}

}  // namespace

TEST_SUITE("elements") {
  TEST_CASE("of every type and layout are shown as every type, rounded once") {
    const TemporaryDirectory folder;
    std::mt19937 random(3);
    for (const StoredType from : kTypes) {
      for (const Layout layout : {Layout::kRows, Layout::kGaps, Layout::kColumns}) {
        Tensors tensors;
        // One of several pieces, one of a piece and less, and vectors.
        tensors["a"] = {.shape = {700, 900}, .values = {}, .type = from};
        tensors["b"] = {.shape = {5, 7}, .values = {}, .type = from};
        tensors["c"] = {.shape = {300'001}, .values = {}, .type = from};
        tensors["d"] = {.shape = {1, 1, 3}, .values = {}, .type = from};
        tensors["e"] = {.shape = {}, .values = {}, .type = from};
        for (auto& [name, tensor] : tensors) {
          std::size_t count = 1;
          for (const std::int64_t size : tensor.shape) count *= static_cast<std::size_t>(size);
          tensor.values = wkv::test::random_floats(random, count);
        }
        const TensorDirectory directory = wkv::test::write_tensors(folder.file("elements"), tensors, layout);
        for (const StoredType to : kTypes) {
          std::vector<Floats> expected;
          for (const auto& tensor : directory.tensors) {
            expected.push_back(tensors.at(tensor.name).values);
            for (float& value : expected.back()) value = rounded(to, rounded(from, value));
          }
          for (const unsigned threads : {1U, 3U}) {
            const std::vector<Floats> found = shown(directory, to, threads);
            for (std::size_t i = 0; i < found.size(); ++i) {
              CHECK(wkv::test::bit_difference(found[i], expected[i]) == "");
            }
          }
        }
      }
    }
  }

  TEST_CASE("come in logical order however many strides there are") {
    const TemporaryDirectory folder;
    CHECK(shown(view(folder, 24, {2, 3, 4}, {12, 1, 3}), StoredType::kF32, 2)[0] ==
          Floats{1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12, 13, 16, 19, 22, 14, 17, 20, 23, 15, 18, 21, 24});
    CHECK(shown(view(folder, 16, {2, 2, 2, 2}, {1, 2, 4, 8}), StoredType::kF32, 1)[0] ==
          Floats{1, 9, 5, 13, 3, 11, 7, 15, 2, 10, 6, 14, 4, 12, 8, 16});
    CHECK(shown(view(folder, 3, {3, 2}, {1, 0}), StoredType::kF32, 1)[0] == Floats{1, 1, 2, 2, 3, 3});
  }

  TEST_CASE("of long rows come in runs that fit into memory") {
    const TemporaryDirectory folder;
    const TensorDirectory directory = view(folder, 1'400'000, {2, 600'000}, {700'000, 1});
    CHECK(longest_run(directory) <= std::size_t{4} << 20);
    const Floats all = counted(1'400'000);
    Floats expected(all.begin(), all.begin() + 600'000);
    expected.insert(expected.end(), all.begin() + 700'000, all.begin() + 1'300'000);
    CHECK(wkv::test::bit_difference(shown(directory, StoredType::kF32, 2)[0], expected) == "");
  }

  TEST_CASE("of long rows whose elements lie apart come in such runs as well") {
    const TemporaryDirectory folder;
    const TensorDirectory directory = view(folder, 1'000'000, {8, 1'000'000}, {1, 0});
    CHECK(longest_run(directory) <= std::size_t{4} << 20);
    const Floats found = shown(directory, StoredType::kF32, 2)[0];
    for (std::size_t row = 0; row < 8; ++row) {
      CHECK(std::all_of(found.begin() + static_cast<std::ptrdiff_t>(row * 1'000'000),
                        found.begin() + static_cast<std::ptrdiff_t>((row + 1) * 1'000'000),
                        [&](float value) { return value == static_cast<float>(row + 1); }));
    }
  }

  TEST_CASE("in too many parts are refused before anything is read") {
    const TemporaryDirectory folder;
    const TensorDirectory directory = view(folder, 12, {1 << 20, 3, 2}, {0, 1, 4});
    const wkv::Error error = refusal([&] { shown(directory, StoredType::kF32, 1); });
    CHECK(error.code == "ERR_WKV_UNSUPPORTED");
    CHECK(error.message == "the tensor all is laid out too irregularly");
    // A few parts, but each of them from the file's beginning to its end.
    const std::size_t count = 1 << 20;
    const TensorDirectory interleaved = view(folder, count, {600, 2, 2, 2}, {1, 600, 2400, 500'000});
    CHECK(refusal([&] { shown(interleaved, StoredType::kF32, 1); }).code == "ERR_WKV_UNSUPPORTED");
  }

  TEST_CASE("that the type cannot hold are refused by tensor and index") {
    const TemporaryDirectory folder;
    const Tensors tensors = {{"fits", {.shape = {2}, .values = {65519, -65519}}},
                             {"large", {.shape = {3}, .values = {1, 2, -65520}}}};
    const TensorDirectory directory = wkv::test::write_tensors(folder.file("large"), tensors);
    const wkv::Error error = refusal([&] { shown(directory, StoredType::kF16, 1); });
    CHECK(error.code == "ERR_WKV_UNSUPPORTED");
    CHECK(error.tensor == "large");
    CHECK(error.found == "-65520.000000 at element 2");
    CHECK(shown(directory, StoredType::kBf16, 1)[1][2] == rounded(StoredType::kBf16, -65520));
    const Tensors huge = {{"huge", {.shape = {1}, .values = {std::numeric_limits<float>::max()}}}};
    const TensorDirectory other = wkv::test::write_tensors(folder.file("huge"), huge);
    CHECK(refusal([&] { shown(other, StoredType::kBf16, 1); }).tensor == "huge");
  }

  TEST_CASE("that are packed, not finite, or outside of their file are refused") {
    const TemporaryDirectory folder;
    const Tensors tensors = {{"a", {.shape = {2}, .values = {1, 2}}}};
    const TensorDirectory sound = wkv::test::write_tensors(folder.file("sound"), tensors);
    TensorDirectory directory = sound;
    directory.tensors[0].packed = {.bytes = 8, .precision = wkv::Precision::kInt8};
    CHECK(refusal([&] { shown(directory, StoredType::kF32, 1); }).found == "int8");
    directory = sound;
    directory.tensors[0].offset = 100;
    CHECK(refusal([&] { shown(directory, StoredType::kF32, 1); }).code == "ERR_WKV_FORMAT");
    directory = sound;
    directory.tensors[0].strides = {};
    CHECK(refusal([&] { shown(directory, StoredType::kF32, 1); }).code == "ERR_WKV_FORMAT");
    const Tensors bad = {{"b", {.shape = {2}, .values = {1, std::numeric_limits<float>::infinity()}}}};
    const TensorDirectory infinite = wkv::test::write_tensors(folder.file("infinite"), bad);
    CHECK(refusal([&] { shown(infinite, StoredType::kF32, 1); }).code == "ERR_WKV_FORMAT");
  }

  TEST_CASE("end when they are called off") {
    const TemporaryDirectory folder;
    const TensorDirectory directory = view(folder, 12, {12}, {1});
    const std::atomic<bool> cancelled{true};
    CHECK_THROWS_AS(wkv::read_elements(directory, StoredType::kF32, 1, cancelled, {}, {}), wkv::Cancelled);
  }

  TEST_CASE("of all tensors make one array") {
    const TemporaryDirectory folder;
    const Tensors tensors = {{"a", {.shape = {2}, .values = {1, 2}, .type = StoredType::kBf16}},
                             {"b", {.shape = {2, 2}, .values = {3, 4, 5, 6}}},
                             {"c", {.shape = {1}, .values = {7}, .type = StoredType::kF16}}};
    TensorDirectory directory = wkv::test::write_tensors(folder.file("several"), tensors, Layout::kColumns);
    CHECK(wkv::read_floats(directory) == counted(7));
    std::swap(directory.tensors[0], directory.tensors[2]);
    CHECK(wkv::read_floats(directory) == Floats{7, 3, 4, 5, 6, 1, 2});
    directory.tensors.clear();
    CHECK(wkv::read_floats(directory).empty());
  }
}
