#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "engine/tensor_loader.h"
#include "test/support/matrices.h"
#include "test/support/model_file.h"
#include "test/support/numbers.h"
#include "test/support/refusal.h"

using wkv::Error;
using wkv::Matrix;
using wkv::RowMatrix;
using wkv::StoredType;
using wkv::TensorDirectory;
using wkv::TensorEntry;
using wkv::TensorLoader;
using wkv::test::Floats;
using wkv::test::kGoOn;
using wkv::test::kTypes;
using wkv::test::Layout;
using wkv::test::refusal;
using wkv::test::rounded;
using wkv::test::rows_of;
using wkv::test::TemporaryDirectory;
using wkv::test::Tensors;
using wkv::test::unpacked;

namespace {

const TensorEntry& entry(const TensorDirectory& directory, const std::string& name) {
  for (const TensorEntry& tensor : directory.tensors) {
    if (tensor.name == name) return tensor;
  }
  throw std::out_of_range(name);
}

// A vector, a small matrix and one of several pieces of a megabyte.
Tensors some_tensors(StoredType type) {
  std::mt19937 random(7);
  Tensors tensors;
  tensors["vector"] = {{1, 1, 70}, wkv::test::random_floats(random, 70), type};
  tensors["small"] = {{5, 33}, wkv::test::random_floats(random, std::size_t{5} * 33), type};
  tensors["large"] = {{330, 2001}, wkv::test::random_floats(random, std::size_t{330} * 2001), type};
  for (auto& [name, tensor] : tensors) {
    for (float& value : tensor.values) value = rounded(type, value);
  }
  return tensors;
}

struct Loaded {
  Matrix small, large;
  RowMatrix rows;
  std::vector<float> vector;
  std::map<std::string, std::uint64_t> hashes;
};

Loaded load(const TensorDirectory& directory, StoredType type, unsigned threads = 2,
            const std::atomic<bool>& cancelled = kGoOn, const wkv::LoadProgress& progress = {}) {
  const wkv::Precision precision = wkv::precision_of(type);
  Loaded loaded{Matrix(precision, 5, 33), Matrix(precision, 330, 2001), RowMatrix(type, 330, 2001), {}, {}};
  TensorLoader loader(directory, threads, cancelled, progress);
  loader.add(entry(directory, "vector"), loaded.vector);
  loader.add(entry(directory, "large"), loaded.large);
  loader.add(entry(directory, "large"), loaded.rows);
  loader.add(entry(directory, "small"), loaded.small);
  loader.run();
  loaded.hashes = loader.hashes();
  return loaded;
}

// One matrix of one row from these values, kept as `to`.
wkv::Error loading(const Floats& values, StoredType from, StoredType to, Layout layout = Layout::kRows) {
  const TemporaryDirectory folder;
  const auto columns = static_cast<std::int64_t>(values.size() / 2);
  const auto directory =
      wkv::test::write_tensors(folder.file("m"), {{"m", {{2, columns}, values, from}}}, layout);
  return refusal([&] {
    Matrix matrix(wkv::precision_of(to), 2, static_cast<int>(columns));
    TensorLoader loader(directory, 1, kGoOn, {});
    loader.add(directory.tensors[0], matrix);
    loader.run();
  });
}

}  // namespace

TEST_SUITE("tensor loader") {
  TEST_CASE("packs matrices into panels and vectors in order, from every layout and type into every type") {
    for (const StoredType from : kTypes) {
      const Tensors tensors = some_tensors(from);
      for (const Layout layout : {Layout::kRows, Layout::kGaps, Layout::kColumns}) {
        const TemporaryDirectory folder;
        const auto directory = wkv::test::write_tensors(folder.file("m"), tensors, layout);
        for (const StoredType to : kTypes) {
          CAPTURE(name_of(from));
          CAPTURE(name_of(to));
          const auto expected = [&](const std::string& name) {
            Floats values = tensors.at(name).values;
            for (float& value : values) value = rounded(to, value);
            return values;
          };
          const Loaded loaded = load(directory, to);
          CHECK(wkv::test::bit_difference(loaded.vector, tensors.at("vector").values) == "");
          CHECK(wkv::test::bit_difference(unpacked(loaded.small), expected("small")) == "");
          CHECK(wkv::test::bit_difference(unpacked(loaded.large), expected("large")) == "");
          CHECK(wkv::test::bit_difference(rows_of(loaded.rows), expected("large")) == "");
        }
      }
    }
  }

  TEST_CASE("hashes do not depend on layout, order, threads or the type that is kept, but on every element") {
    Tensors tensors = some_tensors(StoredType::kBf16);
    const TemporaryDirectory folder;
    const auto rows = wkv::test::write_tensors(folder.file("rows"), tensors);
    const auto hashes = load(rows, StoredType::kBf16, 1).hashes;
    CHECK(hashes.size() == 3);
    for (const unsigned threads : {2U, 3U, 8U, 100U})
      CHECK(load(rows, StoredType::kF32, threads).hashes == hashes);
    for (const Layout layout : {Layout::kRows, Layout::kGaps, Layout::kColumns}) {
      const auto other = wkv::test::write_tensors(folder.file("other"), tensors, layout, true);
      CHECK(load(other, StoredType::kBf16).hashes == hashes);
    }
    for (const auto& [name, index] :
         {std::pair<std::string, std::size_t>{"vector", 69}, {"small", 0}, {"large", 660'000}}) {
      Tensors changed = tensors;
      changed[name].values[index] += 0.5F;
      const auto other =
          load(wkv::test::write_tensors(folder.file("other"), changed), StoredType::kBf16).hashes;
      for (const auto& [tensor, hash] : other) CHECK((hash == hashes.at(tensor)) == (tensor != name));
    }
  }

  TEST_CASE("expanded views repeat their elements") {
    const TemporaryDirectory folder;
    auto directory =
        wkv::test::write_tensors(folder.file("m"), {{"m", {{6}, {1, 2, 3, 4, 5, 6}, StoredType::kF32}}});
    const auto view = [&](std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
      directory.tensors[0].shape = shape;
      directory.tensors[0].strides = strides;
      Matrix matrix(wkv::Precision::kF32, static_cast<int>(shape[0]), static_cast<int>(shape[1]));
      std::vector<float> vector;
      TensorLoader loader(directory, 2, kGoOn, {});
      loader.add(directory.tensors[0], matrix);
      loader.add(directory.tensors[0], vector);
      loader.run();
      CHECK(unpacked(matrix) == vector);
      return vector;
    };
    CHECK(view({2, 3}, {3, 1}) == Floats{1, 2, 3, 4, 5, 6});
    CHECK(view({3, 2}, {1, 3}) == Floats{1, 4, 2, 5, 3, 6});
    CHECK(view({3, 2}, {0, 1}) == Floats{1, 2, 1, 2, 1, 2});
    CHECK(view({2, 3}, {1, 0}) == Floats{1, 1, 1, 2, 2, 2});
    CHECK(view({2, 2}, {0, 0}) == Floats{1, 1, 1, 1});
    CHECK(view({3, 3}, {1, 1}) == Floats{1, 2, 3, 2, 3, 4, 3, 4, 5});  // rows that overlap
    CHECK(view({5, 1}, {1, 1'000'000}) == Floats{1, 2, 3, 4, 5});
    CHECK(view({1, 5}, {1'000'000, 1}) == Floats{1, 2, 3, 4, 5});
  }

  TEST_CASE("vectors may have any dimensions and strides") {
    const TemporaryDirectory folder;
    Floats values(64);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    auto directory = wkv::test::write_tensors(folder.file("m"), {{"m", {{64}, values, StoredType::kF32}}});
    const auto view = [&](std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
      directory.tensors[0].shape = shape;
      directory.tensors[0].strides = strides;
      std::vector<float> vector;
      TensorLoader loader(directory, 1, kGoOn, {});
      loader.add(directory.tensors[0], vector);
      loader.run();
      return vector;
    };
    CHECK(view({}, {}) == Floats{0});
    CHECK(view({1, 1}, {7, 9}) == Floats{0});
    CHECK(view({2, 2, 2}, {4, 2, 1}) == Floats{0, 1, 2, 3, 4, 5, 6, 7});
    CHECK(view({2, 2, 2}, {20, 10, 1}) == Floats{0, 1, 10, 11, 20, 21, 30, 31});
    CHECK(view({2, 1, 2}, {5, 99, 2}) == Floats{0, 2, 5, 7});
    CHECK(view({4}, {0}) == Floats{0, 0, 0, 0});
    CHECK(view({2, 2, 2}, {20, 5, 1}) == Floats{0, 1, 5, 6, 20, 21, 25, 26});
    CHECK(view({2, 2, 2}, {1, 2, 5}) == Floats{0, 5, 2, 7, 1, 6, 3, 8});
    CHECK(view({2, 3, 4}, {12, 1, 3}) ==
          Floats{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, 12, 15, 18, 21, 13, 16, 19, 22, 14, 17, 20, 23});
  }

  TEST_CASE("what would have to be read whole is refused beyond 512 MiB, in the file or widened") {
    const TemporaryDirectory folder;
    wkv::test::write_file(folder.file("m"), {1});
    std::filesystem::resize_file(folder.file("m"), (std::uintmax_t{1} << 29) + 4);  // sparse
    TensorDirectory directory;
    directory.files.push_back(wkv::test::source_file(folder.file("m")));
    // Two numbers 512 MiB apart, and blocks that lie in 136 MiB of the file, but in 512 MiB as floats.
    directory.tensors = {
        {.name = "floats", .type = StoredType::kF32, .shape = {1, 2}, .strides = {0, 1 << 27}},
        {.name = "blocks", .type = StoredType::kQ8_0, .shape = {32, 2}, .strides = {1, 1 << 27}}};
    for (const TensorEntry& tensor : directory.tensors) {
      CAPTURE(tensor.name);
      std::vector<float> vector;
      TensorLoader loader(directory, 1, kGoOn, {});
      loader.add(tensor, vector);
      const Error error = refusal([&] { loader.run(); });
      CHECK(error.code == "ERR_WKV_UNSUPPORTED");
      CHECK(error.tensor == tensor.name);
    }
  }

  TEST_CASE("names the tensor and the element that is not a number, in any piece, layout and type") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    for (const StoredType type : kTypes) {
      for (const Layout layout : {Layout::kRows, Layout::kGaps, Layout::kColumns}) {
        for (const float bad : {nan, infinity, -infinity}) {
          Tensors tensors = some_tensors(type);
          tensors["large"].values[600'123] = bad;
          const TemporaryDirectory folder;
          const auto directory = wkv::test::write_tensors(folder.file("m"), tensors, layout);
          const wkv::Error error = refusal([&] { load(directory, StoredType::kF32); });
          CHECK(error.code == "ERR_WKV_FORMAT");
          CHECK(error.tensor == "large");
          CHECK(error.message.find("element 600123") != std::string::npos);
        }
      }
      Tensors tensors = some_tensors(type);
      tensors["vector"].values[69] = nan;
      const TemporaryDirectory folder;
      const auto directory = wkv::test::write_tensors(folder.file("m"), tensors);
      CHECK(refusal([&] { load(directory, type); }).message.find("vector") != std::string::npos);
    }
  }

  TEST_CASE("refuses numbers that the kept type cannot hold, saying which it can") {
    CHECK(loading({1, 2, 65504, -65519}, StoredType::kF32, StoredType::kF16).code == "none");
    const wkv::Error f16 = loading({1, 2, 65520, 4}, StoredType::kF32, StoredType::kF16);
    CHECK(f16.code == "ERR_WKV_UNSUPPORTED");
    CHECK(f16.tensor == "m");
    CHECK(f16.message.find("f16") != std::string::npos);
    CHECK(loading({1, 2, 3, -1e38F}, StoredType::kBf16, StoredType::kF16).code == "ERR_WKV_UNSUPPORTED");
    CHECK(loading({1, 2, 3, -1e38F}, StoredType::kBf16, StoredType::kF32).code == "none");
    const wkv::Error bf16 = loading({1, 2, 3, 3.4e38F}, StoredType::kF32, StoredType::kBf16);
    CHECK(bf16.code == "ERR_WKV_UNSUPPORTED");
    CHECK(bf16.message.find("bf16 cannot") != std::string::npos);
    CHECK(loading({1, 2, 3, 0x1.fep127F}, StoredType::kF32, StoredType::kBf16).code == "none");
    CHECK(loading({1e-45F, 2, 3, 4}, StoredType::kF32, StoredType::kF16).code == "none");
  }

  TEST_CASE("reports every byte, never more than all of them") {
    const TemporaryDirectory folder;
    const auto directory = wkv::test::write_tensors(folder.file("m"), some_tensors(StoredType::kF32));
    const std::uint64_t all = (70 + 5 * 33 + 2 * 330 * 2001) * 4;  // `large` is read twice
    std::atomic<std::uint64_t> most{0};
    std::atomic<int> wrong{0};
    load(directory, StoredType::kF32, 3, kGoOn, [&](std::uint64_t completed, std::uint64_t total) {
      wrong += total != all || completed > total;
      std::uint64_t seen = most.load();
      while (completed > seen && !most.compare_exchange_weak(seen, completed)) continue;
    });
    CHECK(most == all);
    CHECK(wrong == 0);
  }

  TEST_CASE("stops when it is cancelled, before and while it works") {
    const TemporaryDirectory folder;
    const auto directory =
        wkv::test::write_tensors(folder.file("m"), some_tensors(StoredType::kF32), Layout::kColumns);
    const std::atomic<bool> before{true};
    CHECK_THROWS_AS(load(directory, StoredType::kF32, 2, before), wkv::Cancelled);
    std::atomic<bool> cancelled{false};
    std::atomic<int> pieces{0};
    CHECK_THROWS_AS(load(directory, StoredType::kF32, 1, cancelled,
                         [&](std::uint64_t, std::uint64_t) {
                           ++pieces;
                           cancelled = true;
                         }),
                    wkv::Cancelled);
    CHECK(pieces == 1);
  }

  TEST_CASE("what the progress callback throws ends the loading") {
    const TemporaryDirectory folder;
    const auto directory = wkv::test::write_tensors(folder.file("m"), some_tensors(StoredType::kF32));
    CHECK_THROWS_AS(load(directory, StoredType::kF32, 3, kGoOn,
                         [](std::uint64_t, std::uint64_t) { throw Error("ERR_WKV_FORMAT", "stop"); }),
                    Error);
  }

  TEST_CASE("a file that is cut off while its tensors are read is an error") {
    const TemporaryDirectory folder;
    const auto directory = wkv::test::write_tensors(folder.file("m"), some_tensors(StoredType::kF32));
    Matrix matrix(wkv::Precision::kF32, 330, 2001);
    TensorLoader loader(directory, 2, kGoOn, {});
    loader.add(entry(directory, "large"), matrix);
    std::filesystem::resize_file(folder.file("m"), 1000);
    CHECK(refusal([&] { loader.run(); }).code == "ERR_WKV_FORMAT");
  }

  TEST_CASE("a file that is written to while it is read is refused") {
    const TemporaryDirectory folder;
    const std::string path = folder.file("m");
    const TensorDirectory directory = wkv::test::write_tensors(path, some_tensors(StoredType::kF32));
    std::atomic<int> calls{0};
    const Error error = refusal([&] {
      load(directory, StoredType::kF32, 2, kGoOn, [&](std::uint64_t, std::uint64_t) {
        if (calls.fetch_add(1) > 0) return;
        const auto before = std::filesystem::last_write_time(path);
        std::filesystem::last_write_time(path, before + std::chrono::seconds{1});
      });
    });
    CHECK(calls > 1);
    CHECK(error.code == "ERR_WKV_FORMAT");
    CHECK(error.path == path);
    CHECK(std::string(error.what()).find("changed while it was being loaded") != std::string::npos);
  }
}
