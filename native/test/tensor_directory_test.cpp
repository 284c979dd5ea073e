#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "engine/tensor_directory.h"
#include "test/support/refusal.h"

using wkv::StoredType;
using wkv::TensorDirectory;
using wkv::TensorEntry;
using wkv::test::refusal;
using Shape = std::vector<std::int64_t>;

namespace {

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

TensorEntry tensor(Shape shape, Shape strides, std::uint64_t offset = 0, StoredType type = StoredType::kF32) {
  return {.name = "t",
          .type = type,
          .shape = std::move(shape),
          .strides = std::move(strides),
          .file = 0,
          .offset = offset};
}

TensorDirectory file_of(std::uint64_t size) {
  return {.files = {{.path = "f", .size = size}}, .tensors = {}};
}

std::uint64_t extent(const TensorEntry& entry, std::uint64_t file_size) {
  return wkv::checked_extent(file_of(file_size), entry);
}

std::string code(const TensorEntry& entry, std::uint64_t file_size = 1000) {
  return refusal([&] { extent(entry, file_size); }).code;
}

}  // namespace

TEST_SUITE("tensor directory") {
  TEST_CASE("shapes are written like arrays") {
    CHECK(wkv::shape_text({}) == "[]");
    CHECK(wkv::shape_text({2, 3}) == "[2, 3]");
    CHECK(wkv::shape_text({-1}) == "[-1]");
  }

  TEST_CASE("counts elements, up to 2^40") {
    CHECK(wkv::element_count(tensor({}, {})) == 1);
    CHECK(wkv::element_count(tensor({2, 3, 4}, {})) == 24);
    CHECK(wkv::element_count(tensor({std::int64_t{1} << 20, std::int64_t{1} << 20}, {})) == std::int64_t{1}
                                                                                                << 40);
  }

  TEST_CASE("refuses shapes that are empty, negative or overflow, naming the tensor") {
    for (const Shape& shape : {Shape{0},
                               {-1},
                               {3, 0},
                               {3, -7},
                               {kHuge},
                               {kHuge, kHuge},
                               {1, 2, kHuge},
                               {(std::int64_t{1} << 40) + 1},
                               {std::int64_t{1} << 32, std::int64_t{1} << 32},
                               {std::int64_t{1} << 21, std::int64_t{1} << 20},
                               {std::numeric_limits<std::int64_t>::min()},
                               Shape(64, 2),
                               Shape(100'000, 3)}) {
      CHECK(refusal([&] { wkv::element_count(tensor(shape, shape)); }).code == "ERR_WKV_FORMAT");
      CHECK(code(tensor(shape, shape)) == "ERR_WKV_FORMAT");
    }
    CHECK(refusal([] { wkv::element_count(tensor({0, 4}, {})); }).tensor == "t");
    CHECK(refusal([] { wkv::element_count(tensor({0, 4}, {})); }).found == "[0, 4]");
  }

  TEST_CASE("the extent runs from the first to the last element") {
    CHECK(extent(tensor({2, 3}, {3, 1}), 24) == 24);
    CHECK(extent(tensor({2, 3}, {3, 1}, 0, StoredType::kBf16), 12) == 12);
    CHECK(extent(tensor({2, 3}, {10, 1}), 52) == 52);    // no gap after the last row
    CHECK(extent(tensor({3, 2}, {1, 3}), 24) == 24);     // transposed
    CHECK(extent(tensor({1000, 5}, {0, 1}), 20) == 20);  // expanded
    CHECK(extent(tensor({}, {}), 4) == 4);
    CHECK(extent(tensor({1, 4}, {kHuge, 1}), 16) == 16);  // a stride that is never taken
    CHECK(extent(tensor({4}, {1}, 984), 1000) == 16);
  }

  TEST_CASE("refuses tensors that do not lie in their file") {
    CHECK(code(tensor({4}, {1}, 985)) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({4}, {1}, 1000)) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({4}, {1}, 1001)) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({4}, {1}, std::numeric_limits<std::uint64_t>::max())) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({4}, {1}, std::numeric_limits<std::uint64_t>::max() - 15)) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({251}, {1})) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({250}, {1})) == "none");
    CHECK(code(tensor({2}, {250})) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({1}, {1}), 3) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({1}, {1}), 0) == "ERR_WKV_FORMAT");
  }

  TEST_CASE("refuses strides that are negative, overflow or are missing") {
    CHECK(code(tensor({4}, {-1})) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({1}, {-1})) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({2}, {kHuge})) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({5}, {std::int64_t{1} << 62})) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({5}, {(std::int64_t{1} << 62) + 1})) == "ERR_WKV_FORMAT");
    // (2^33 - 1) * 2^31 and its likes: products and sums that would come round to something small.
    CHECK(code(tensor({(std::int64_t{1} << 33) + 1}, {std::int64_t{1} << 31})) == "ERR_WKV_FORMAT");
    CHECK(code(tensor(Shape(8, 2), Shape(8, std::int64_t{1} << 61))) == "ERR_WKV_FORMAT");
    CHECK(code(tensor(Shape(8, 2), Shape(8, std::int64_t{1} << 56))) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({2, 2}, {1})) == "ERR_WKV_FORMAT");
    CHECK(code(tensor({2}, {1, 1})) == "ERR_WKV_FORMAT");
    CHECK(code(tensor(Shape(9, 1), Shape(9, 1))) == "ERR_WKV_FORMAT");
  }

  TEST_CASE("blocks are counted whole, along rows or along columns") {
    const auto blocks = [](Shape shape, Shape strides, StoredType type = StoredType::kQ8_0) {
      return tensor(std::move(shape), std::move(strides), 0, type);
    };
    CHECK(extent(blocks({64}, {1}), 68) == 68);
    CHECK(extent(blocks({3, 64}, {64, 1}), 204) == 204);
    CHECK(extent(blocks({3, 64}, {96, 1}), 272) == 272);  // a block between rows
    CHECK(extent(blocks({64, 3}, {1, 64}), 204) == 204);  // transposed
    CHECK(extent(blocks({1, 1, 32}, {5, 7, 1}), 34) == 34);
    CHECK(extent(blocks({2, 256}, {256, 1}, StoredType::kQ6K), 420) == 420);
    CHECK(extent(blocks({2, 256}, {256, 1}, StoredType::kQ4K), 288) == 288);
    CHECK(extent(blocks({2, 256}, {256, 1}, StoredType::kQ5K), 352) == 352);
    CHECK(extent(blocks({2, 256}, {256, 1}, StoredType::kQ2K), 168) == 168);
    CHECK(extent(blocks({2, 256}, {256, 1}, StoredType::kQ3K), 220) == 220);
    CHECK(extent(blocks({2, 256}, {256, 1}, StoredType::kIq4Xs), 272) == 272);
    CHECK(extent(blocks({32}, {1}, StoredType::kIq4Nl), 18) == 18);
    CHECK(extent(blocks({32}, {1}, StoredType::kQ4_0), 18) == 18);
    CHECK(extent(blocks({32}, {1}, StoredType::kQ4_1), 20) == 20);
    CHECK(extent(blocks({32}, {1}, StoredType::kQ5_0), 22) == 22);
    CHECK(extent(blocks({32}, {1}, StoredType::kQ5_1), 24) == 24);
    CHECK(code(blocks({3, 64}, {64, 1}), 203) == "ERR_WKV_FORMAT");
  }

  TEST_CASE("refuses rows of blocks that are not whole") {
    const auto blocks = [](Shape shape, Shape strides, StoredType type = StoredType::kQ8_0) {
      return code(tensor(std::move(shape), std::move(strides), 0, type));
    };
    CHECK(blocks({31}, {1}) == "ERR_WKV_FORMAT");
    CHECK(blocks({33}, {1}) == "ERR_WKV_FORMAT");
    CHECK(blocks({}, {}) == "ERR_WKV_FORMAT");
    CHECK(blocks({1}, {1}) == "ERR_WKV_FORMAT");
    CHECK(blocks({2, 16}, {16, 1}) == "ERR_WKV_FORMAT");  // a row in the middle of a block
    CHECK(blocks({2, 32}, {33, 1}) == "ERR_WKV_FORMAT");
    CHECK(blocks({2, 32}, {0, 1}) == "ERR_WKV_FORMAT");
    CHECK(blocks({32, 32}, {1, 1}) == "ERR_WKV_FORMAT");
    CHECK(blocks({32}, {32}) == "ERR_WKV_FORMAT");  // one number of each block
    CHECK(blocks({2, 32}, {1, 2}) == "ERR_WKV_FORMAT");
    CHECK(blocks({2, 128}, {128, 1}, StoredType::kQ6K) == "ERR_WKV_FORMAT");
    CHECK(blocks({2, 32}, {32, 1}) == "none");
  }

  TEST_CASE("scales are powers of two") {
    const auto scaled = [](float scale) {
      TensorEntry entry = tensor({4}, {1});
      entry.scale = scale;
      return code(entry);
    };
    for (const float scale : {1.0F, 2.0F, 0.25F, 0x1p127F, 0x1p-126F}) CHECK(scaled(scale) == "none");
    for (const float scale : {0.0F, -0.0F, -1.0F, -2.0F, 3.0F, 0.1F, 0x1p-149F, 0x1p-127F,
                              std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::max()}) {
      CHECK(scaled(scale) == "ERR_WKV_FORMAT");
    }
  }

  TEST_CASE("refuses files that the directory does not have") {
    TensorEntry entry = tensor({1}, {1});
    entry.file = 1;
    CHECK(code(entry) == "ERR_WKV_FORMAT");
    entry.file = std::numeric_limits<std::uint32_t>::max();
    CHECK(code(entry) == "ERR_WKV_FORMAT");
    entry.file = 0;
    CHECK(refusal([&] { wkv::checked_extent({}, entry); }).code == "ERR_WKV_FORMAT");
  }
}
