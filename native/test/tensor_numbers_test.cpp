// What a loader makes of numbers that are not stored as they are: in blocks, scaled, or with a function
// applied.

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "engine/hash.h"
#include "engine/tensor_loader.h"
#include "test/support/matrices.h"
#include "test/support/model_file.h"
#include "test/support/numbers.h"
#include "test/support/refusal.h"

using wkv::Matrix;
using wkv::RowMatrix;
using wkv::StoredType;
using wkv::TensorDirectory;
using wkv::TensorEntry;
using wkv::TensorLoader;
using wkv::test::Floats;
using wkv::test::kGoOn;
using wkv::test::kTypes;
using wkv::test::refusal;
using wkv::test::rounded;
using wkv::test::rows_of;
using wkv::test::TemporaryDirectory;
using wkv::test::unpacked;

namespace {

// What becomes of a matrix [2, 2] with a scale, kept as `to`.
wkv::Error scaled(const Floats& values, float scale, StoredType to) {
  const TemporaryDirectory folder;
  auto directory = wkv::test::write_tensors(folder.file("m"), {{"m", {{2, 2}, values, StoredType::kF32}}});
  directory.tensors[0].scale = scale;
  return refusal([&] {
    Matrix matrix(wkv::precision_of(to), 2, 2);
    TensorLoader loader(directory, 1, kGoOn, {});
    loader.add(directory.tensors[0], matrix);
    loader.run();
  });
}

// A matrix [5, 64] of q8_0, or the same transposed.
struct Blocks {
  explicit Blocks(std::string file) : path(std::move(file)) {
    for (int block = 0; block < 10; ++block) {
      bytes.push_back(0);
      bytes.push_back(static_cast<unsigned char>(0x2c + block));  // 2^-4 to 2^-2
      for (int i = 0; i < 32; ++i) bytes.push_back(static_cast<unsigned char>(block * 31 + i * 7));
    }
    rewrite();
  }

  void rewrite() {
    wkv::test::write_file(path, bytes);
    directory.files = {wkv::test::source_file(path)};
  }

  TensorEntry view(bool transposed) const {
    return {.name = "m",
            .type = StoredType::kQ8_0,
            .shape = transposed ? std::vector<std::int64_t>{64, 5} : std::vector<std::int64_t>{5, 64},
            .strides = transposed ? std::vector<std::int64_t>{1, 64} : std::vector<std::int64_t>{64, 1}};
  }

  Floats values(bool transposed) const {
    Floats values(320);
    for (std::size_t i = 0; i < 320; ++i) {
      const std::size_t stored = transposed ? i % 5 * 64 + i / 5 : i;
      const unsigned char* block = bytes.data() + stored / 32 * 34;
      const float scale = wkv::f16_to_f32(static_cast<std::uint16_t>(block[0] + 256 * block[1]));
      values[i] = scale * static_cast<float>(static_cast<signed char>(block[2 + stored % 32]));
    }
    return values;
  }

  std::string path;
  std::vector<unsigned char> bytes;
  TensorDirectory directory;
};

}  // namespace

TEST_SUITE("tensor numbers") {
  TEST_CASE("dequantizes blocks into every precision, whether they lie along rows or along columns") {
    const TemporaryDirectory folder;
    const Blocks blocks(folder.file("m"));
    for (const StoredType to : kTypes) {
      for (const bool transposed : {false, true}) {
        const wkv::TensorEntry view = blocks.view(transposed);
        const auto rows = static_cast<int>(view.shape[0]);
        const auto columns = static_cast<int>(view.shape[1]);
        Matrix matrix(wkv::precision_of(to), rows, columns);
        RowMatrix row_matrix(to, rows, columns);
        std::vector<float> vector;
        TensorLoader loader(blocks.directory, 2, kGoOn, {});
        loader.add(view, matrix);
        loader.add(view, row_matrix);
        loader.add(view, vector);
        loader.run();
        Floats expected = blocks.values(transposed);
        CHECK(wkv::test::bit_difference(vector, expected) == "");
        for (float& value : expected) value = rounded(to, value);
        CHECK(wkv::test::bit_difference(unpacked(matrix), expected) == "");
        CHECK(wkv::test::bit_difference(rows_of(row_matrix), expected) == "");
      }
    }
  }

  TEST_CASE("rows of blocks that are looked up are kept as f16") {
    const RowMatrix rows(StoredType::kQ8_0, 3, 64);
    CHECK(rows.type == StoredType::kF16);
    CHECK(rows.data.size() == 3 * 64 * 2);
    CHECK(RowMatrix::size_in_bytes(StoredType::kQ6K, 3, 256) == 3 * 256 * 2);
  }

  TEST_CASE("hashes blocks as they are stored, with what was done to them") {
    const TemporaryDirectory folder;
    const Blocks blocks(folder.file("m"));
    const auto hash_of = [&](wkv::TensorEntry view) {
      std::vector<float> vector;
      TensorLoader loader(blocks.directory, 1, kGoOn, {});
      loader.add(view, vector);
      loader.run();
      return loader.hashes().at("m");
    };
    wkv::TensorEntry view = blocks.view(false);
    const std::uint64_t hash = hash_of(view);
    const std::uint64_t piece = wkv::xxh64(blocks.bytes.data(), blocks.bytes.size());
    CHECK(hash == wkv::xxh64(&piece, sizeof piece));
    CHECK(hash_of(blocks.view(true)) != hash);
    view.scale = 2;
    CHECK(hash_of(view) != hash);
    wkv::TensorEntry other = view;
    other.scale = 4;
    CHECK(hash_of(view) != hash_of(other));
  }

  TEST_CASE("blocks that lie along columns are read in pieces, and no more of them once it is called off") {
    const TemporaryDirectory folder;
    Blocks blocks(folder.file("m"));
    const Floats few = blocks.values(false);
    const std::vector<unsigned char> period = blocks.bytes;
    for (int i = 1; i < 10'000; ++i) blocks.bytes.insert(blocks.bytes.end(), period.begin(), period.end());
    blocks.rewrite();
    wkv::TensorEntry view = blocks.view(true);
    view.shape = {320, 10'000};
    view.strides = {1, 320};
    std::vector<std::uint64_t> reports;
    std::atomic<bool> cancelled{false};
    const auto load = [&](bool call_off) {
      std::vector<float> vector;
      TensorLoader loader(blocks.directory, 1, cancelled, [&](std::uint64_t completed, std::uint64_t) {
        reports.push_back(completed);
        cancelled = call_off;
      });
      loader.add(view, vector);
      loader.run();
      const std::uint64_t hash = loader.hashes().at("m");
      std::vector<std::uint64_t> parts{wkv::xxh64(blocks.bytes.data(), blocks.bytes.size()), 1, 320};
      CHECK(hash == wkv::xxh64(parts.data(), parts.size() * sizeof parts[0]));
      return vector;
    };
    const std::vector<float> vector = load(false);
    bool same = vector.size() == 3'200'000;
    for (std::size_t i = 0; same && i < vector.size(); ++i) same = vector[i] == few[i / 10'000];
    CHECK(same);
    CHECK(reports.back() == blocks.bytes.size());
    reports.clear();
    CHECK_THROWS_AS(load(true), wkv::Cancelled);
    CHECK(reports.size() == 1);
    CHECK(reports.back() < blocks.bytes.size());
  }

  TEST_CASE("a scale multiplies, exactly") {
    const TemporaryDirectory folder;
    for (const StoredType type : kTypes) {
      auto directory = wkv::test::write_tensors(folder.file("m"), {{"m", {{2, 2}, {1, -2.5F, 3, 0}, type}}});
      directory.tensors[0].scale = 4;
      for (const StoredType to : kTypes) {
        Matrix matrix(wkv::precision_of(to), 2, 2);
        RowMatrix rows(to, 2, 2);
        std::vector<float> vector;
        TensorLoader loader(directory, 1, kGoOn, {});
        loader.add(directory.tensors[0], matrix);
        loader.add(directory.tensors[0], rows);
        loader.add(directory.tensors[0], vector);
        loader.run();
        CHECK(vector == Floats{4, -10, 12, 0});
        CHECK(unpacked(matrix) == vector);
        CHECK(rows_of(rows) == vector);
      }
    }
  }

  TEST_CASE("refuses a scale that makes infinities, and numbers that f16 cannot hold after it") {
    CHECK(scaled({1, 2, 1e30F, 4}, 0x1p40F, StoredType::kF32).code == "ERR_WKV_FORMAT");
    CHECK(scaled({1, 2, 1e30F, 4}, 0x1p40F, StoredType::kF32).message.find("element 2") != std::string::npos);
    CHECK(scaled({1, 2, 20'000, 4}, 4, StoredType::kF16).code == "ERR_WKV_UNSUPPORTED");
    CHECK(scaled({1, 2, 16'000, 4}, 4, StoredType::kF16).code == "none");
    CHECK(scaled({1, 2, 3, 4}, 3, StoredType::kF32).code == "ERR_WKV_FORMAT");
  }

  TEST_CASE("takes back what the file's writer applied, to f32's last bit but for the logarithm's own") {
    using wkv::Applied;
    const auto restored = [](Applied applied, const Floats& stored) {
      const TemporaryDirectory folder;
      const auto count = static_cast<std::int64_t>(stored.size());
      auto directory =
          wkv::test::write_tensors(folder.file("m"), {{"m", {{count}, stored, StoredType::kF32}}});
      directory.tensors[0].applied = applied;
      std::vector<float> vector;
      TensorLoader loader(directory, 1, kGoOn, {});
      loader.add(directory.tensors[0], vector);
      loader.run();
      return vector;
    };
    CHECK(restored(Applied::kExp, {1, 0.5F, 2}) == Floats{0, -0.69314718F, 0.69314718F});
    CHECK(restored(Applied::kNegativeExp, {-1, -0.5F, -2}) == Floats{0, -0.69314718F, 0.69314718F});
    for (const float decay : {-9.0F, -6.5F, -1.0F, 0.0F, 0.7F, 2.0F}) {
      const auto stored = static_cast<float>(std::exp(-std::exp(static_cast<double>(decay))));
      const Floats own = restored(Applied::kExpOfNegativeExp, {stored});
      // As near as f32 holds the factor itself.
      CHECK(std::exp(-std::exp(static_cast<double>(own[0]))) == doctest::Approx(stored).epsilon(1e-6));
    }
    // What underflowed, and factors of 1 and 0, have no logarithm, but the same factors come out again.
    const float least = restored(Applied::kExp, {0})[0];
    CHECK(static_cast<float>(std::exp(static_cast<double>(least))) == 0);
    CHECK(static_cast<float>(-std::exp(static_cast<double>(restored(Applied::kNegativeExp, {-0.0F})[0]))) ==
          0);
    const Floats extremes = restored(Applied::kExpOfNegativeExp, {1, 0});
    CHECK(static_cast<float>(-std::expm1(-std::exp(static_cast<double>(extremes[0])))) == 0);
    CHECK(static_cast<float>(-std::expm1(-std::exp(static_cast<double>(extremes[1])))) == 1);
    CHECK(refusal([&] { restored(Applied::kExp, {1, -1}); }).code == "ERR_WKV_FORMAT");
    CHECK(refusal([&] {
            restored(Applied::kNegativeExp, {-1, 1});
          }).message.find("element 1") != std::string::npos);
    CHECK(refusal([&] { restored(Applied::kExpOfNegativeExp, {1.5F}); }).expected == "results of exp(-exp)");
    CHECK(refusal([&] { restored(Applied::kExpOfNegativeExp, {-0.5F}); }).code == "ERR_WKV_FORMAT");
  }

  TEST_CASE("names the tensor and the number that a block's scale makes a NaN or an infinity") {
    const TemporaryDirectory folder;
    for (const int high : {0x7c, 0x7e, 0xfc}) {
      Blocks blocks(folder.file("m"));
      blocks.bytes[34 * 3 + 1] = static_cast<unsigned char>(high);  // the scale of the fourth block
      blocks.rewrite();
      for (const bool transposed : {false, true}) {
        const wkv::TensorEntry view = blocks.view(transposed);
        Matrix matrix(wkv::Precision::kF32, static_cast<int>(view.shape[0]), static_cast<int>(view.shape[1]));
        TensorLoader loader(blocks.directory, 1, kGoOn, {});
        loader.add(view, matrix);
        const wkv::Error error = refusal([&] { loader.run(); });
        CHECK(error.code == "ERR_WKV_FORMAT");
        CHECK(error.tensor == "m");
        // Row 1, column 32 of [5, 64]; of [64, 5] the number is at row 32, column 1.
        const std::string place = transposed ? "element 161" : "element 96";
        CHECK(error.message.find(place) != std::string::npos);
      }
    }
  }

  TEST_CASE("shows blocks to conversions as f32, the embedding as f16") {
    const TemporaryDirectory folder;
    Blocks blocks(folder.file("m"));
    wkv::TensorEntry view = blocks.view(false);
    const auto shown = [&] {
      std::vector<unsigned char> bytes(blocks.values(false).size() * 4);
      std::size_t end = 0;
      TensorLoader loader(blocks.directory, 1, kGoOn, {});
      loader.show(
          view, wkv::shown_type(view), [&](std::uint64_t offset, std::span<const unsigned char> elements) {
            std::copy(elements.begin(), elements.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
            end = std::max(end, static_cast<std::size_t>(offset) + elements.size());
          });
      loader.run();
      bytes.resize(end);
      return bytes;
    };
    Floats expected = blocks.values(false);
    std::vector<unsigned char> bytes = shown();
    REQUIRE(bytes.size() == expected.size() * 4);
    CHECK(std::memcmp(bytes.data(), expected.data(), bytes.size()) == 0);
    CHECK(wkv::shown_type(view) == StoredType::kF32);
    view.name = "emb.weight";
    bytes = shown();
    REQUIRE(bytes.size() == expected.size() * 2);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      std::uint16_t half = 0;
      std::memcpy(&half, bytes.data() + 2 * i, 2);
      CHECK(half == wkv::f32_to_f16(expected[i]));
    }
  }
}
