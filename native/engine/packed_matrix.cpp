#include "engine/packed_matrix.h"

#include <algorithm>
#include <cstring>

#include "engine/error.h"

namespace wkv {

namespace {

constexpr std::size_t kBlockAlignment = 64;

// Written so that compilers make a few instructions of it for many bytes.
bool has_zero(const unsigned char* bytes, std::size_t count) {
  unsigned char least = 255;
  for (std::size_t i = 0; i < count; ++i) least = bytes[i] < least ? bytes[i] : least;
  return least == 0;
}

// NaN, infinity and everything negative have larger bits than the largest number.
bool is_scale(const unsigned char* place) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, place, sizeof bits);
  return bits < 0x7f800000U;
}

[[noreturn]] void refuse(const std::string& name, int row, const char* what, const char* expected) {
  const std::string where = " in row " + std::to_string(row);
  throw Error("ERR_WKV_FORMAT", "the tensor " + name + " holds " + what + where)
      .about(name, expected, what + where);
}

// One panel in int8: kernels/gemm_int8/gemm_int8.h. Of the padding nothing is asked: its products are not
// used.
void check_int8_panel(const Matrix& matrix, const std::string& name, int row) {
  const int rows = std::min(kInt8PanelRows, matrix.rows - row);
  const unsigned char* const panel = matrix.panel(row);
  for (int begin = 0, index = 0; begin < matrix.columns; begin += matrix.group, ++index) {
    const unsigned char* const codes = panel + int8_group_offset(index, matrix.group);
    const int padded = std::min(matrix.group, matrix.padded_columns - begin);
    const int size = std::min(matrix.group, matrix.columns - begin);
    const auto bytes = static_cast<std::size_t>(padded) * kInt8PanelRows;
    // Where everything is well, most panels are looked at no closer.
    if (has_zero(codes, bytes)) {
      for (int line = 0; line < rows; ++line) {
        for (int column = 0; column < size; ++column) {
          const int place = (column / 4 * kInt8PanelRows + line) * 4 + column % 4;
          if (codes[place] == 0) refuse(name, row + line, "the code 0", "codes from 1 to 255");
        }
      }
    }
    for (int line = 0; line < rows; ++line) {
      if (!is_scale(codes + bytes + static_cast<std::size_t>(line) * sizeof(float))) {
        refuse(name, row + line, "a scale that is negative, infinite or NaN", "finite scales from 0 on");
      }
    }
  }
}

}  // namespace

Matrix packed_form(const TensorEntry& tensor) {
  const PackedBlock& block = *tensor.packed;
  const auto rows = static_cast<int>(tensor.shape[0]);
  const auto columns = static_cast<int>(tensor.shape[1]);
  if (!is_quantized(block.precision)) {
    throw Error("ERR_WKV_FORMAT", "the tensor " + tensor.name + " is packed as " + name_of(block.precision))
        .about(tensor.name, "int8 or int4", name_of(block.precision));
  }
  const int most = std::min(round_up(columns, kPanelColumns),
                            block.precision == Precision::kInt4 ? kMaxInt4Group : kMaxGroup);
  const int group = block.group == 0 ? round_up(columns, kPanelColumns) : block.group;
  if (group < kGroupStep || group % kGroupStep != 0 || group > most) {
    const std::string found = std::to_string(block.group);
    throw Error("ERR_WKV_FORMAT", "the tensor " + tensor.name + " has groups of " + found + " columns")
        .about(tensor.name, "a multiple of 16 up to " + std::to_string(most), found);
  }
  Matrix matrix(block.precision, rows, columns, group, Memory{});
  if (block.bytes != matrix.size_in_bytes()) {
    const std::string found = std::to_string(block.bytes) + " bytes";
    throw Error("ERR_WKV_FORMAT", "the tensor " + tensor.name + " has a block of " + found)
        .about(tensor.name, std::to_string(matrix.size_in_bytes()) + " bytes", found);
  }
  if (tensor.offset % kBlockAlignment != 0) {
    throw Error("ERR_WKV_FORMAT", "the block of the tensor " + tensor.name + " is not aligned")
        .about(tensor.name, "a multiple of 64", "byte " + std::to_string(tensor.offset));
  }
  return matrix;
}

void check_panels(const Matrix& matrix, const std::string& name, int row, int count) {
  // In int4 every byte is one that quantizing may give.
  if (matrix.precision == Precision::kInt4) return;
  for (int panel = row; panel < row + count; panel += kInt8PanelRows) check_int8_panel(matrix, name, panel);
}

}  // namespace wkv
