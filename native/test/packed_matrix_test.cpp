#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "engine/packed_matrix.h"
#include "test/support/guarded.h"
#include "test/support/numbers.h"
#include "test/support/refusal.h"

using wkv::Matrix;
using wkv::Memory;
using wkv::Precision;
using wkv::TensorEntry;
using wkv::test::refusal;

namespace {

TensorEntry entry(std::int64_t rows, std::int64_t columns, int group, std::uint64_t bytes,
                  std::uint64_t offset = 4096) {
  return {.name = "m",
          .shape = {rows, columns},
          .offset = offset,
          .packed = {{.bytes = bytes, .group = group, .precision = Precision::kInt8}}};
}

// A matrix of valid random codes and scales in memory that ends with a page, padding untouched.
struct Block {
  Block(int rows, int columns, int group)
      : form(Precision::kInt8, rows, columns, group), bytes(form.data.size()) {
    std::mt19937 random(5);
    std::vector<unsigned char> codes(static_cast<std::size_t>(group));
    for (int row = 0; row < rows; ++row) {
      for (int begin = 0, index = 0; begin < columns; begin += group, ++index) {
        for (unsigned char& code : codes) code = static_cast<unsigned char>(1 + random() % 255);
        form.put_int8(row, index, codes.data(), row % 3 == 0 ? 0.0F : 0.01F);
      }
    }
    std::memcpy(bytes.data(), form.data.data(), form.data.size());
  }

  Matrix matrix() {
    return {form.precision, form.rows, form.columns, form.group,
            Memory(std::shared_ptr<const void>(&form, [](const void*) {}), bytes.data(), form.data.size())};
  }
  wkv::Error checking() {
    return refusal([&] { wkv::check_panels(matrix(), "m", 0, form.rows); });
  }

  Matrix form;
  wkv::test::Guarded<unsigned char> bytes;
};

// Where a code lies: gemm_int8.h.
std::size_t code_place(const Matrix& m, int row, int column) {
  const auto panel = static_cast<std::size_t>(row / 32) * wkv::int8_panel_bytes(m.padded_columns, m.group);
  const int within = column % m.group;
  return panel + wkv::int8_group_offset(column / m.group, m.group) +
         static_cast<std::size_t>((within / 4 * 32 + row % 32) * 4 + within % 4);
}
std::size_t scale_place(const Matrix& m, int row, int column) {
  const auto panel = static_cast<std::size_t>(row / 32) * wkv::int8_panel_bytes(m.padded_columns, m.group);
  const int index = column / m.group;
  const int size = std::min(m.group, m.padded_columns - index * m.group);
  return panel + wkv::int8_group_offset(index, m.group) + static_cast<std::size_t>(size * 32 + row % 32 * 4);
}

}  // namespace

TEST_SUITE("packed matrix") {
  TEST_CASE("has the form that its block says, whole rows and groups") {
    for (const auto& [rows, columns, group] :
         {std::tuple{32, 64, 16}, {33, 70, 32}, {1, 1, 16}, {5, 24, 0}}) {
      const int whole = wkv::round_up(columns, 16);
      const auto size = Matrix::size_in_bytes(Precision::kInt8, rows, columns, group == 0 ? whole : group);
      const Matrix form = wkv::packed_form(entry(rows, columns, group, size));
      CHECK(form.rows == rows);
      CHECK(form.columns == columns);
      CHECK(form.group == (group == 0 ? whole : group));
      CHECK(form.data.size() == 0);
      CHECK(form.size_in_bytes() == size);
    }
  }

  TEST_CASE("is refused with groups that kernels do not take, another size, or where it is not aligned") {
    const auto size = Matrix::size_in_bytes(Precision::kInt8, 40, 64, 32);
    const auto refused = [&](const TensorEntry& tensor) {
      const wkv::Error error = refusal([&] { wkv::packed_form(tensor); });
      CHECK(error.tensor == "m");
      CHECK(!error.expected.empty());
      CHECK(!error.found.empty());
      return error.code;
    };
    CHECK(refusal([&] { wkv::packed_form(entry(40, 64, 32, size)); }).code == "none");
    for (const int group : {1, 8, 17, 40, 80, 128, -16, 1 << 30, std::numeric_limits<int>::min()}) {
      CAPTURE(group);
      CHECK(refused(entry(40, 64, group, size)) == "ERR_WKV_FORMAT");
    }
    for (const std::uint64_t bytes : {std::uint64_t{0}, size - 1, size + 64, ~std::uint64_t{0}}) {
      CHECK(refused(entry(40, 64, 32, bytes)) == "ERR_WKV_FORMAT");
    }
    CHECK(refused(entry(40, 64, 32, size, 4096 + 32)) == "ERR_WKV_FORMAT");
    // A row of more columns than a group may have.
    const int wide = wkv::kMaxGroup + 16;
    CHECK(refused(entry(1, wide, 0, Matrix::size_in_bytes(Precision::kInt8, 1, wide, wide))) ==
          "ERR_WKV_FORMAT");
  }

  TEST_CASE("is taken with every code and scale that quantizing gives, whatever the padding holds") {
    for (const auto& [rows, columns, group] :
         {std::tuple{32, 64, 16}, {33, 70, 32}, {70, 17, 16}, {1, 1, 16}}) {
      Block block(rows, columns, group);
      CAPTURE(block.form.rows);
      CAPTURE(block.form.columns);
      CHECK(block.checking().code == "none");
      // What is not a code or a scale of a row may be anything.
      std::vector<bool> used(block.bytes.values().size());
      for (int row = 0; row < rows; ++row) {
        for (int column = 0; column < columns; ++column) {
          used[code_place(block.form, row, column)] = true;
          for (std::size_t i = 0; i < 4; ++i) used[scale_place(block.form, row, column) + i] = true;
        }
      }
      for (std::size_t i = 0; i < used.size(); ++i) {
        if (!used[i]) block.bytes.values()[i] = i % 2 == 0 ? 0xff : 0;
      }
      CHECK(block.checking().code == "none");
    }
  }

  TEST_CASE("is refused for a single code 0, wherever it is, naming the row") {
    Block block(37, 40, 16);
    for (int row = 0; row < 37; ++row) {
      for (int column = 0; column < 40; ++column) {
        unsigned char& code = block.bytes.values()[code_place(block.form, row, column)];
        const unsigned char before = code;
        code = 0;
        const wkv::Error error = block.checking();
        code = before;
        CHECK(error.code == "ERR_WKV_FORMAT");
        CHECK(error.found == "the code 0 in row " + std::to_string(row));
      }
    }
    CHECK(block.checking().code == "none");
  }

  TEST_CASE("is refused for a single scale that is negative, infinite or NaN") {
    Block block(37, 40, 16);
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (int row = 0; row < 37; ++row) {
      for (const int column : {0, 16, 32}) {
        for (const float bad : {-1.0F, -0.0F, kInfinity, -kInfinity, nan, -nan}) {
          unsigned char* const place = block.bytes.data() + scale_place(block.form, row, column);
          float before = 0;
          std::memcpy(&before, place, 4);
          std::memcpy(place, &bad, 4);
          const wkv::Error error = block.checking();
          std::memcpy(place, &before, 4);
          CHECK(error.code == "ERR_WKV_FORMAT");
          CHECK(error.message.find("row " + std::to_string(row)) != std::string::npos);
        }
      }
    }
    CHECK(block.bytes.intact());
  }

  TEST_CASE("is looked at only in the rows that are asked for") {
    Block block(96, 16, 16);
    block.bytes.values()[code_place(block.form, 40, 3)] = 0;
    const Matrix matrix = block.matrix();
    CHECK(refusal([&] { wkv::check_panels(matrix, "m", 0, 32); }).code == "none");
    CHECK(refusal([&] { wkv::check_panels(matrix, "m", 64, 32); }).code == "none");
    CHECK(refusal([&] { wkv::check_panels(matrix, "m", 32, 32); }).code == "ERR_WKV_FORMAT");
  }
}
