// What becomes of the numbers of a piece.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "backend/cpu/cpu_features.h"
#include "engine/error.h"
#include "engine/stored_numbers.h"
#include "engine/tensor_loader.h"
#include "engine/tensor_loader_items.h"
#include "kernels/kernel_table.h"

namespace wkv {

namespace {

// Converts elements, and says so where the type cannot hold one of them.
void convert(const TensorEntry& tensor, StoredType from, const unsigned char* elements, std::int64_t count,
             StoredType to, unsigned char* destination) {
  if (from == to) {
    std::memcpy(destination, elements, static_cast<std::size_t>(bytes_of(to, count)));
    return;
  }
  std::array<float, kPanelColumns> numbers;
  for (std::int64_t i = 0; i < count; i += kPanelColumns) {
    const std::span<float> some{numbers.data(),
                                static_cast<std::size_t>(std::min<std::int64_t>(kPanelColumns, count - i))};
    widen(from, elements + bytes_of(from, i), some);
    narrow(some, to, destination + bytes_of(to, i));
  }
  const std::int64_t bad = first_not_finite(to, destination, count);
  if (bad < 0) return;
  refuse_numbers(tensor, precision_of(to), std::to_string(number_at(from, elements, bad)));
}

// Quantizes a row of a matrix from its numbers.
void quantize_row(Matrix& matrix, int row, const float* numbers, const float* importance,
                  unsigned char* codes) {
  const KernelTable& kernels = selected_kernels();
  for (int begin = 0, index = 0; begin < matrix.columns; begin += matrix.group, ++index) {
    const int size = std::min(matrix.group, matrix.columns - begin);
    if (matrix.precision == Precision::kInt4) {
      std::array<unsigned char, kMaxInt4Group / kGroupStep> indices;
      const unsigned char scale = kernels.quantize_int4({.weights = numbers + begin,
                                                         .importance = importance + begin,
                                                         .size = size,
                                                         .codes = codes,
                                                         .indices = indices.data()});
      matrix.put_int4(row, index, codes, indices.data(), scale);
    } else {
      const float scale = kernels.quantize_weights(numbers + begin, size, codes);
      matrix.put_int8(row, index, codes, scale);
    }
  }
}

}  // namespace

StoredType shown_type(const TensorEntry& tensor) {
  if (is_plain(tensor)) return tensor.type;
  return tensor.name == "emb.weight" ? row_type(tensor.type) : StoredType::kF32;
}

void TensorLoader::require_finite(const Item& item, std::int64_t row, std::int64_t rows, Elements elements) {
  const std::int64_t bad = first_not_finite(elements.type, elements.bytes, rows * item.columns);
  if (bad < 0) return;
  const std::string index = std::to_string(row * item.columns + bad);
  throw Error("ERR_WKV_FORMAT",
              "the tensor " + item.tensor->name + " holds a NaN or an infinity at element " + index)
      .about(item.tensor->name, "finite numbers",
             std::to_string(number_at(elements.type, elements.bytes, bad)) + " at element " + index);
}

void TensorLoader::store(Item& item, std::int64_t row, std::int64_t rows, Elements elements,
                         Buffers& buffers) {
  if (!is_plain(*item.tensor)) {
    std::vector<float>& numbers = buffers.widened;
    numbers.resize(static_cast<std::size_t>(rows * item.columns));
    widen(elements.type, elements.bytes, numbers);
    elements = {StoredType::kF32, reinterpret_cast<const unsigned char*>(numbers.data())};
    require_finite(item, row, rows, elements);
    restore(*item.tensor, row * item.columns, numbers);
  } else {
    require_finite(item, row, rows, elements);
  }
  if (item.show) show(item, row, rows, elements, buffers);
  if (item.vector != nullptr) {
    widen(elements.type, elements.bytes,
          std::span(*item.vector)
              .subspan(static_cast<std::size_t>(row * item.columns),
                       static_cast<std::size_t>(rows * item.columns)));
  } else if (item.matrix != nullptr && is_quantized(item.matrix->precision)) {
    store_quantized(item, row, rows, elements, buffers);
  } else if (item.matrix != nullptr || item.row_matrix != nullptr) {
    store_rows(item, row, rows, elements);
  }
}

void TensorLoader::show(const Item& item, std::int64_t row, std::int64_t rows, Elements elements,
                        Buffers& buffers) {
  const StoredType type = item.shown;
  const std::int64_t count = rows * item.columns;
  buffers.shown.resize(static_cast<std::size_t>(bytes_of(type, count)));
  convert(*item.tensor, elements.type, elements.bytes, count, type, buffers.shown.data());
  item.show(static_cast<std::uint64_t>(bytes_of(type, row * item.columns)), buffers.shown);
}

void TensorLoader::store_rows(Item& item, std::int64_t row, std::int64_t rows, Elements elements) {
  const bool is_matrix = item.matrix != nullptr;
  const StoredType to = is_matrix ? stored_type_of(item.matrix->precision) : item.row_matrix->type;
  auto* base =
      static_cast<unsigned char*>(is_matrix ? item.matrix->data.data() : item.row_matrix->data.data());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t column = 0; column < item.columns; column += kPanelColumns) {
      const std::int64_t width = std::min<std::int64_t>(kPanelColumns, item.columns - column);
      std::int64_t place = (row + r) * item.columns + column;
      if (is_matrix) {
        const std::int64_t panel = (row + r) / kPanelRows * kPanelRows;
        place = panel * item.matrix->padded_columns + column * kPanelRows + (row + r - panel) * kPanelColumns;
      }
      const unsigned char* first = elements.bytes + bytes_of(elements.type, r * item.columns + column);
      convert(*item.tensor, elements.type, first, width, to, base + bytes_of(to, place));
    }
  }
}

void TensorLoader::store_quantized(Item& item, std::int64_t row, std::int64_t rows, Elements elements,
                                   Buffers& buffers) {
  Matrix& matrix = *item.matrix;
  const auto columns = static_cast<std::size_t>(item.columns);
  buffers.numbers.resize(columns);
  buffers.codes.resize(columns);
  // An input that was made smaller counts the more for it: its scale is 1 / sqrt(size).
  buffers.importance.assign(columns, 1.0F);
  for (std::size_t column = 0; column < matrix.input_scales.size(); ++column) {
    const float scale = matrix.input_scales[column];
    buffers.importance[column] = 1 / (scale * scale);
  }
  // 3.389e38 is what remains finite in bf16 too.
  const float most = matrix.precision == Precision::kInt4 ? kMaxInt4Weight : 3.389e38F;
  for (std::int64_t r = row; r < row + rows; ++r) {
    widen(elements.type, elements.bytes + bytes_of(elements.type, (r - row) * item.columns), buffers.numbers);
    if (item.visit) item.visit(r, buffers.numbers);
    for (std::size_t column = 0; column < matrix.input_scales.size(); ++column) {
      buffers.numbers[column] /= matrix.input_scales[column];
    }
    if (!std::all_of(buffers.numbers.begin(), buffers.numbers.end(),
                     [most](float number) { return std::fabs(number) <= most; })) {
      refuse_numbers(*item.tensor, matrix.precision, "larger ones in row " + std::to_string(r));
    }
    quantize_row(matrix, static_cast<int>(r), buffers.numbers.data(), buffers.importance.data(),
                 buffers.codes.data());
  }
}

}  // namespace wkv
