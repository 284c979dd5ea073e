#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/memory.h"
#include "engine/tensor_directory.h"
#include "kernels/gemm/gemm.h"

namespace wkv {

inline int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// A weight matrix [rows, columns] in the panel layout of kernels/gemm/gemm.h.
struct Matrix {
  Matrix() = default;
  Matrix(StoredType element_type, int row_count, int column_count)
      : type(element_type),
        rows(row_count),
        columns(column_count),
        padded_columns(round_up(column_count, kPanelColumns)),
        data(size_in_bytes(element_type, row_count, column_count)) {}

  static std::size_t size_in_bytes(StoredType type, int rows, int columns) {
    return static_cast<std::size_t>(round_up(rows, kPanelRows)) *
           static_cast<std::size_t>(round_up(columns, kPanelColumns)) *
           static_cast<std::size_t>(bytes_of(type));
  }

  // The panel that begins at `row`, a multiple of kPanelRows.
  const void* panel(int row) const {
    const std::ptrdiff_t elements = std::ptrdiff_t{row} * padded_columns;
    return static_cast<const unsigned char*>(data.data()) + elements * bytes_of(type);
  }

  StoredType type = StoredType::kF32;
  int rows = 0;
  int columns = 0;
  int padded_columns = 0;
  Memory data;
};

// A matrix in plain row-major order: the embedding, of which one row a token is read.
struct RowMatrix {
  RowMatrix() = default;
  RowMatrix(StoredType element_type, int row_count, int column_count)
      : type(element_type),
        rows(row_count),
        columns(column_count),
        data(size_in_bytes(element_type, row_count, column_count)) {}

  static std::size_t size_in_bytes(StoredType type, int rows, int columns) {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) *
           static_cast<std::size_t>(bytes_of(type));
  }

  // Widens one row to `output`, `columns` floats.
  void read_row(int row, float* output) const;

  StoredType type = StoredType::kF32;
  int rows = 0;
  int columns = 0;
  Memory data;
};

}  // namespace wkv
