#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "backend/cpu/memory.h"
#include "engine/precision.h"
#include "engine/tensor_directory.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm_int4/gemm_int4.h"
#include "kernels/gemm_int8/gemm_int8.h"

namespace wkv {

// Columns that share a scale in int8: a sixteenth of a row, within bounds (docs/quantization.md).
inline int int8_group(int columns) {
  int group = 16;
  while (group < 256 && group * 32 <= columns) group *= 2;
  return group;
}

// In int4 as many as there can be: its blocks of 16 have multipliers of their own.
inline int group_for(Precision precision, int columns) {
  return precision == Precision::kInt4   ? std::min(kMaxInt4Group, round_up(columns, kGroupStep))
         : precision == Precision::kInt8 ? int8_group(columns)
                                         : 0;
}

// A weight matrix [rows, columns] in panels: those of kernels/gemm, gemm_int8 or gemm_int4.
struct Matrix {
  Matrix() = default;
  Matrix(Precision kept_in, int row_count, int column_count)
      : Matrix(kept_in, row_count, column_count, group_for(kept_in, column_count)) {}
  // With another group than group_for's.
  Matrix(Precision kept_in, int row_count, int column_count, int columns_of_a_group)
      : Matrix(kept_in, row_count, column_count, columns_of_a_group,
               Memory(size_in_bytes(kept_in, row_count, column_count, columns_of_a_group))) {}
  // In panels that are there already, or will be later.
  Matrix(Precision kept_in, int row_count, int column_count, int columns_of_a_group, Memory panels)
      : precision(kept_in),
        rows(row_count),
        columns(column_count),
        padded_columns(round_up(column_count, kPanelColumns)),
        group(is_quantized(kept_in) ? columns_of_a_group : 0),
        data(std::move(panels)) {}

  static std::size_t size_in_bytes(Precision precision, int rows, int columns) {
    return size_in_bytes(precision, rows, columns, group_for(precision, columns));
  }
  static std::size_t size_in_bytes(Precision precision, int rows, int columns, int columns_of_a_group) {
    const int padded = round_up(columns, kPanelColumns);
    if (is_quantized(precision)) {
      const auto panels = static_cast<std::size_t>(round_up(rows, kInt8PanelRows) / kInt8PanelRows);
      // Whole lines of the cache.
      return (panels * quantized_panel_bytes(precision, padded, columns_of_a_group) + 63) / 64 * 64;
    }
    return static_cast<std::size_t>(round_up(rows, kPanelRows)) * static_cast<std::size_t>(padded) *
           static_cast<std::size_t>(bytes_of(stored_type_of(precision)));
  }

  static std::size_t quantized_panel_bytes(Precision precision, int padded, int columns_of_a_group) {
    return precision == Precision::kInt4 ? int4_panel_bytes(padded, columns_of_a_group)
                                         : int8_panel_bytes(padded, columns_of_a_group);
  }

  // One that has no data yet.
  static Matrix form(Precision precision, int rows, int columns) {
    return {precision, rows, columns, group_for(precision, columns), Memory{}};
  }

  // What `data` has or will have.
  std::size_t size_in_bytes() const { return size_in_bytes(precision, rows, columns, group); }

  // The panel that begins at `row`, a multiple of the panel's rows.
  const unsigned char* panel(int row) const {
    const auto* bytes = static_cast<const unsigned char*>(data.data());
    if (is_quantized(precision)) {
      return bytes + static_cast<std::size_t>(row / kInt8PanelRows) *
                         quantized_panel_bytes(precision, padded_columns, group);
    }
    return bytes + std::ptrdiff_t{row} * padded_columns * bytes_of(stored_type_of(precision));
  }
  unsigned char* panel(int row) { return const_cast<unsigned char*>(std::as_const(*this).panel(row)); }

  // Where an element of a matrix that is not quantized belongs.
  unsigned char* place_of(int row, int column) {
    const int in_panel = row % kPanelRows;
    const std::ptrdiff_t run = std::ptrdiff_t{column / kPanelColumns} * kPanelColumns * kPanelRows;
    const std::ptrdiff_t index = run + std::ptrdiff_t{in_panel} * kPanelColumns + column % kPanelColumns;
    return panel(row - in_panel) + index * bytes_of(stored_type_of(precision));
  }

  // In int8: stores one group of a row, codes with 128 added, and its scale.
  void put_int8(int row, int index, const unsigned char* codes, float scale) {
    const int in_panel = row % kInt8PanelRows;
    unsigned char* const place = panel(row - in_panel) + int8_group_offset(index, group);
    const int begin = index * group;
    const int size = std::min(group, columns - begin);
    for (int column = 0; column < size; ++column) {
      const std::ptrdiff_t quad = std::ptrdiff_t{column / 4} * kInt8PanelRows + in_panel;
      place[quad * 4 + column % 4] = codes[column];
    }
    const int padded = std::min(group, padded_columns - begin);
    std::memcpy(place + std::ptrdiff_t{padded} * kInt8PanelRows + std::ptrdiff_t{in_panel} * 4, &scale,
                sizeof scale);
  }

  // In int4: stores one group of a row, as quantize_int4 gives it.
  void put_int4(int row, int index, const unsigned char* codes, const unsigned char* indices,
                unsigned char scale) {
    const int in_panel = row % kInt8PanelRows;
    unsigned char* const place = panel(row - in_panel);
    const int begin = index * group;
    const int size = std::min(group, padded_columns - begin);
    const auto put_half = [](unsigned char& byte, bool high, unsigned char half) {
      byte = static_cast<unsigned char>(high ? byte % 16 + half * 16 : byte / 16 * 16 + half);
    };
    for (int i = 0; i < size; ++i) {
      const int column = begin + i;
      // A column that is not there is a zero.
      const unsigned char code = column < columns ? codes[i] : 8;
      put_half(place[(column / 8 * kInt8PanelRows + in_panel) * 4 + column % 4], column % 8 >= 4, code);
    }
    unsigned char* const multipliers = place + int4_multipliers_offset(padded_columns);
    for (int i = 0; i < size; i += kGroupStep) {
      const int block = (begin + i) / kGroupStep;
      put_half(multipliers[block / 2 * kInt8PanelRows + in_panel], block % 2 != 0, indices[i / kGroupStep]);
    }
    place[int4_scales_offset(padded_columns) + std::ptrdiff_t{index} * kInt8PanelRows + in_panel] = scale;
  }

  Precision precision = Precision::kF32;
  int rows = 0;
  int columns = 0;
  int padded_columns = 0;
  // Quantized: columns that share a scale, and what activations are multiplied by before they are quantized;
  // the columns of the weights were divided by it.
  int group = 0;
  std::vector<float> input_scales;
  Memory data;
};

// A matrix in plain row-major order: the embedding, of which one row a token is read. Blocks are kept as f16.
struct RowMatrix {
  RowMatrix() = default;
  RowMatrix(StoredType stored_as, int row_count, int column_count)
      : type(row_type(stored_as)),
        rows(row_count),
        columns(column_count),
        data(size_in_bytes(stored_as, row_count, column_count)) {}
  // Of elements that are there already.
  RowMatrix(StoredType stored_as, int row_count, int column_count, Memory elements)
      : type(row_type(stored_as)), rows(row_count), columns(column_count), data(std::move(elements)) {}

  static std::size_t size_in_bytes(StoredType stored_as, int rows, int columns) {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) *
           static_cast<std::size_t>(bytes_of(row_type(stored_as)));
  }

  // What `data` has or will have.
  std::size_t size_in_bytes() const { return size_in_bytes(type, rows, columns); }

  // Widens one row to `output`, `columns` floats.
  void read_row(int row, float* output) const;

  StoredType type = StoredType::kF32;
  int rows = 0;
  int columns = 0;
  Memory data;
};

}  // namespace wkv
