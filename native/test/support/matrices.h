#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>

#include "engine/matrix.h"
#include "kernels/simd/half.h"
#include "test/support/numbers.h"

namespace wkv::test {

// Those that store each number by itself.
constexpr StoredType kTypes[] = {StoredType::kF32, StoredType::kF16, StoredType::kBf16};

inline float rounded(StoredType type, float value) {
  if (type == StoredType::kF16) return f16_to_f32(f32_to_f16(value));
  return type == StoredType::kBf16 ? bf16_to_f32(f32_to_bf16(value)) : value;
}

inline float element(const Memory& memory, StoredType type, std::size_t index) {
  const auto* bytes = static_cast<const unsigned char*>(memory.data());
  std::uint16_t half = 0;
  float value = 0;
  if (type == StoredType::kF32) {
    std::memcpy(&value, bytes + index * 4, 4);
    return value;
  }
  std::memcpy(&half, bytes + index * 2, 2);
  return type == StoredType::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
}

// The matrix that the panels hold, row by row; says so if the padding is not zero.
inline Floats unpacked(const Matrix& matrix) {
  const auto rows = static_cast<std::size_t>(matrix.rows);
  const auto columns = static_cast<std::size_t>(matrix.columns);
  const auto padded = static_cast<std::size_t>(matrix.padded_columns);
  Floats values(rows * columns);
  bool padding_is_zero = true;
  for (std::size_t row = 0; row < (rows + 3) / 4 * 4; ++row) {
    for (std::size_t column = 0; column < padded; ++column) {
      const std::size_t group = row / 4 * (padded / 16) + column / 16;
      const float value =
          element(matrix.data, stored_type_of(matrix.precision), (group * 4 + row % 4) * 16 + column % 16);
      if (row < rows && column < columns) {
        values[row * columns + column] = value;
      } else {
        padding_is_zero &= value == 0;
      }
    }
  }
  CHECK(padding_is_zero);
  return values;
}

inline Floats rows_of(const RowMatrix& matrix) {
  const auto columns = static_cast<std::size_t>(matrix.columns);
  Floats values(static_cast<std::size_t>(matrix.rows) * columns);
  for (int row = 0; row < matrix.rows; ++row) {
    matrix.read_row(row, values.data() + static_cast<std::size_t>(row) * columns);
  }
  return values;
}

}  // namespace wkv::test
