#pragma once

// What TensorLoader works with: shared by its own files alone.

#include <vector>

#include "engine/tensor_loader.h"

namespace wkv {

// What is read at a time, about.
constexpr std::int64_t kPieceBytes = std::int64_t{1} << 20;

struct TensorLoader::Item {
  const TensorEntry* tensor;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
  Matrix* matrix = nullptr;
  RowMatrix* row_matrix = nullptr;
  std::vector<float>* vector = nullptr;
  bool kept = false;  // as the file has it
  RowVisitor visit = {};
  StoredType shown = {};
  BytesVisitor show = {};
  Done done = {};
  std::size_t pieces_left = 0;  // until it is done
  std::size_t phase = 0;
  std::int64_t piece_rows = 0;
  std::vector<std::uint64_t> piece_hashes = {};

  // Of a destination that is no vector.
  Memory& memory() const { return matrix != nullptr ? matrix->data : row_matrix->data; }
  std::size_t memory_bytes() const {
    return matrix != nullptr ? matrix->size_in_bytes() : row_matrix->size_in_bytes();
  }

  // Whether rows can be read one by one.
  bool rows_are_contiguous() const {
    return is_of_blocks(tensor->type) ? column_stride == 1 && columns > 1
                                      : column_stride == 1 || columns == 1;
  }
};

struct TensorLoader::Piece {
  Item* item;
  std::int64_t row;  // -1: the whole tensor
  std::int64_t rows;
};

// Stored elements.
struct TensorLoader::Elements {
  StoredType type;
  const unsigned char* bytes;
};

struct TensorLoader::Buffers {
  std::vector<unsigned char> raw;
  std::vector<unsigned char> gathered;
  std::vector<unsigned char> shown;
  std::vector<float> widened;
  std::vector<float> numbers;        // of a row
  std::vector<float> importance;     // of its columns
  std::vector<unsigned char> codes;  // of a row, quantized
};

}  // namespace wkv
