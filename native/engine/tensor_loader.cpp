#include "engine/tensor_loader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

#include "backend/cpu/cpu_features.h"
#include "engine/hash.h"
#include "engine/packed_matrix.h"
#include "kernels/kernel_table.h"
#include "kernels/simd/half.h"

namespace wkv {

namespace {

constexpr std::int64_t kPieceBytes = std::int64_t{1} << 20;
// A transposed view is read whole; beyond this it is refused.
constexpr std::uint64_t kMostWhole = std::uint64_t{1} << 29;
// Files beyond this size are not left in the page cache.
constexpr std::uint64_t kDropFrom = std::uint64_t{4} << 30;

std::uint16_t half_at(const unsigned char* elements, std::int64_t index) {
  std::uint16_t half;
  std::memcpy(&half, elements + index * 2, sizeof half);
  return half;
}

float float_at(const unsigned char* elements, std::int64_t index) {
  float value;
  std::memcpy(&value, elements + index * 4, sizeof value);
  return value;
}

float widened(StoredType type, const unsigned char* elements, std::int64_t index) {
  switch (type) {
    case StoredType::kF16:
      return f16_to_f32(half_at(elements, index));
    case StoredType::kBf16:
      return bf16_to_f32(half_at(elements, index));
    case StoredType::kF32:
      break;
  }
  return float_at(elements, index);
}

// Index of the first NaN or infinity, or -1.
std::int64_t first_not_finite(StoredType type, const unsigned char* elements, std::int64_t count) {
  const std::uint32_t mask = type == StoredType::kF16 ? 0x7c00U : 0x7f80U;
  std::uint32_t any = 0;
  if (type == StoredType::kF32) {
    for (std::int64_t i = 0; i < count; ++i) {
      any |= static_cast<std::uint32_t>((bits_of(float_at(elements, i)) & 0x7f800000U) == 0x7f800000U);
    }
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      any |= static_cast<std::uint32_t>((half_at(elements, i) & mask) == mask);
    }
  }
  if (any == 0) return -1;
  for (std::int64_t i = 0; i < count; ++i) {
    const bool finite = type == StoredType::kF32
                            ? (bits_of(float_at(elements, i)) & 0x7f800000U) != 0x7f800000U
                            : (half_at(elements, i) & mask) != mask;
    if (!finite) return i;
  }
  return -1;
}

// One element of `to`'s type from any stored element.
void convert(StoredType from, const unsigned char* elements, std::int64_t index, StoredType to,
             unsigned char* destination) {
  const float value = widened(from, elements, index);
  if (to == StoredType::kF32) {
    std::memcpy(destination, &value, sizeof value);
    return;
  }
  const std::uint16_t half = to == StoredType::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
  std::memcpy(destination, &half, sizeof half);
}

}  // namespace

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
  BytesVisitor show = {};
  MatrixVisitor done = {};
  std::function<void()> vector_done = {};
  bool irregular = false;       // strides of more than two dimensions: read whole, element by element
  std::size_t pieces_left = 0;  // until it is done
  std::size_t phase = 0;
  std::int64_t piece_rows = 0;
  std::vector<std::uint64_t> piece_hashes = {};

  bool rows_are_contiguous() const { return !irregular && (column_stride == 1 || columns == 1); }
};

struct TensorLoader::Piece {
  Item* item;
  std::int64_t row;  // -1: the whole tensor
  std::int64_t rows;
};

struct TensorLoader::Buffers {
  std::vector<unsigned char> raw;
  std::vector<unsigned char> gathered;
  std::vector<float> numbers;        // of a row
  std::vector<float> importance;     // of its columns
  std::vector<unsigned char> codes;  // of a row, quantized
};

TensorLoader::TensorLoader(const TensorDirectory& directory, unsigned threads,
                           const std::atomic<bool>& cancelled, LoadProgress progress)
    : directory_(directory), threads_(threads), cancelled_(cancelled), progress_(std::move(progress)) {
  for (const SourceFile& file : directory.files) {
    readers_.push_back(std::make_unique<FileReader>(file));
    drop_.push_back(file.size >= kDropFrom);
  }
}

TensorLoader::~TensorLoader() = default;

namespace {

// A tensor of any number of dimensions as a matrix, for vectors: one row where its elements are evenly
// spaced.
struct Flat {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
  bool irregular = false;
};

Flat flatten(const TensorEntry& tensor) {
  Flat flat;
  bool first = true;
  for (std::size_t i = tensor.shape.size(); i-- > 0;) {
    const std::int64_t size = tensor.shape[i];
    const std::int64_t stride = tensor.strides[i];
    if (size == 1) continue;
    if (first) {
      flat.columns = size;
      flat.column_stride = stride;
      first = false;
    } else if (flat.rows == 1 && stride == flat.columns * flat.column_stride) {
      flat.columns *= size;
    } else if (flat.rows == 1) {
      flat.rows = size;
      flat.row_stride = stride;
    } else if (stride == flat.rows * flat.row_stride) {
      flat.rows *= size;
    } else {
      return {.columns = element_count(tensor), .irregular = true};
    }
  }
  return flat;
}

// Calls visit(index) for each element in logical order, with its place counted from the first one's.
template <class Visitor>
void for_each_element(const TensorEntry& tensor, Visitor&& visit) {
  std::vector<std::int64_t> at(tensor.shape.size());
  std::int64_t index = 0;
  for (std::int64_t left = element_count(tensor); left > 0; --left) {
    visit(index);
    for (std::size_t axis = at.size(); axis-- > 0;) {
      index += tensor.strides[axis];
      if (++at[axis] < tensor.shape[axis]) break;
      index -= tensor.strides[axis] * tensor.shape[axis];
      at[axis] = 0;
    }
  }
}

}  // namespace

void TensorLoader::then(std::function<void()> prepare) { phases_.push_back(std::move(prepare)); }

TensorLoader::Item& TensorLoader::add_item(Item item) {
  item.phase = phases_.size() - 1;
  items_.push_back(std::make_unique<Item>(std::move(item)));
  return *items_.back();
}

void TensorLoader::add(const TensorEntry& tensor, Matrix& destination) { add(tensor, destination, {}); }

void TensorLoader::add(const TensorEntry& tensor, Matrix& destination, RowVisitor visit) {
  add(tensor, destination, std::move(visit), {});
}

void TensorLoader::add(const TensorEntry& tensor, Matrix& destination, RowVisitor visit, MatrixVisitor done) {
  add_item({.tensor = &tensor,
            .rows = destination.rows,
            .columns = destination.columns,
            .row_stride = tensor.strides[0],
            .column_stride = tensor.strides[1],
            .matrix = &destination,
            .visit = std::move(visit),
            .done = std::move(done)});
}

void TensorLoader::add(const TensorEntry& tensor, RowMatrix& destination) {
  add_item({.tensor = &tensor,
            .rows = destination.rows,
            .columns = destination.columns,
            .row_stride = tensor.strides[0],
            .column_stride = tensor.strides[1],
            .row_matrix = &destination});
}

void TensorLoader::add(const TensorEntry& tensor, std::vector<float>& destination) {
  add(tensor, destination, {});
}

void TensorLoader::add(const TensorEntry& tensor, std::vector<float>& destination, BytesVisitor show) {
  destination.resize(static_cast<std::size_t>(element_count(tensor)));
  add(tensor, destination, std::move(show), {});
}

void TensorLoader::add(const TensorEntry& tensor, std::vector<float>& destination, BytesVisitor show,
                       std::function<void()> done) {
  const Flat flat = flatten(tensor);
  add_item({.tensor = &tensor,
            .rows = flat.rows,
            .columns = flat.columns,
            .row_stride = flat.row_stride,
            .column_stride = flat.column_stride,
            .vector = &destination,
            .show = std::move(show),
            .vector_done = std::move(done),
            .irregular = flat.irregular});
}

void TensorLoader::show(const TensorEntry& matrix, BytesVisitor show) {
  add_item({.tensor = &matrix,
            .rows = matrix.shape[0],
            .columns = matrix.shape[1],
            .row_stride = matrix.strides[0],
            .column_stride = matrix.strides[1],
            .show = std::move(show)});
}

std::shared_ptr<const unsigned char> TensorLoader::mapping(std::uint32_t file) {
  const auto [place, is_new] = mappings_.try_emplace(file);
  if (is_new) place->second = readers_[file]->map();
  return place->second;
}

void TensorLoader::keep(const TensorEntry& tensor, Matrix& destination, bool mapped) {
  const std::size_t bytes = destination.size_in_bytes();
  const auto file = mapped ? mapping(tensor.file) : nullptr;
  destination.data = file != nullptr ? Memory(file, file.get() + tensor.offset, bytes) : Memory(bytes);
  add_item({.tensor = &tensor,
            .rows = destination.rows,
            .columns = destination.columns,
            .matrix = &destination,
            .kept = true});
}

void TensorLoader::keep(const TensorEntry& tensor, RowMatrix& destination, bool mapped) {
  const std::size_t bytes = RowMatrix::size_in_bytes(tensor.type, destination.rows, destination.columns);
  const bool is_dense = tensor.strides == std::vector<std::int64_t>{destination.columns, 1};
  const auto file = mapped && is_dense ? mapping(tensor.file) : nullptr;
  destination.data = file != nullptr ? Memory(file, file.get() + tensor.offset, bytes) : Memory(bytes);
  add_item({.tensor = &tensor,
            .rows = destination.rows,
            .columns = destination.columns,
            .row_stride = tensor.strides[0],
            .column_stride = tensor.strides[1],
            .row_matrix = &destination,
            .kept = file != nullptr});
}

void TensorLoader::run() {
  std::sort(items_.begin(), items_.end(), [](const auto& a, const auto& b) {
    return std::pair(a->tensor->file, a->tensor->offset) < std::pair(b->tensor->file, b->tensor->offset);
  });
  for (const auto& item : items_) cut(*item);
  for (std::size_t phase = 0; phase < phases_.size(); ++phase) run_phase(phase);
}

void TensorLoader::cut(Item& item) {
  if (item.kept && item.matrix != nullptr) {
    const auto bytes = static_cast<std::int64_t>(item.matrix->data.size());
    const std::int64_t fitting = kPieceBytes * item.rows / bytes / kInt8PanelRows * kInt8PanelRows;
    item.piece_rows = std::max<std::int64_t>(fitting, kInt8PanelRows);
    total_ += static_cast<std::uint64_t>(bytes);
    return;
  }
  const std::int64_t row_bytes = item.columns * bytes_of(item.tensor->type);
  const std::int64_t fitting = kPieceBytes / row_bytes / kPanelRows * kPanelRows;
  // The same for every layout of the file, because the hash is taken over pieces. A vector is one piece.
  item.piece_rows = item.vector != nullptr ? item.rows : std::max<std::int64_t>(fitting, kPanelRows);
  const std::int64_t pieces = (item.rows + item.piece_rows - 1) / item.piece_rows;
  if (!item.kept) item.piece_hashes.resize(static_cast<std::size_t>(pieces));
  total_ += static_cast<std::uint64_t>(item.rows * row_bytes);
}

void TensorLoader::run_phase(std::size_t phase) {
  phases_[phase]();
  pieces_.clear();
  next_piece_.store(0);
  for (const auto& item : items_) {
    if (item->phase != phase) continue;
    item->pieces_left = 1;
    if (!item->kept && !item->rows_are_contiguous()) {
      pieces_.push_back({item.get(), -1, item->rows});
      continue;
    }
    item->pieces_left = static_cast<std::size_t>((item->rows + item->piece_rows - 1) / item->piece_rows);
    for (std::int64_t row = 0; row < item->rows; row += item->piece_rows) {
      pieces_.push_back({item.get(), row, std::min(item->piece_rows, item->rows - row)});
    }
  }
  const std::size_t most = std::min<std::size_t>(threads_, pieces_.size());
  std::vector<std::thread> workers;
  workers.reserve(most);
  const auto start_helpers = [&] {
    try {
      while (workers.size() + 1 < most) workers.emplace_back([this] { work(); });
    } catch (const std::exception&) {
      // A system that refuses threads leaves fewer of them; this one loads alone if need be.
      return;
    }
  };
  start_helpers();
  work();
  for (std::thread& worker : workers) worker.join();
  if (cancelled_.load()) throw Cancelled{};
  if (failure_) throw *failure_;
  if (failed_.load()) throw std::bad_alloc{};
}

void TensorLoader::work() {
  Buffers buffers;
  while (!cancelled_.load(std::memory_order_relaxed) && !failed_.load(std::memory_order_relaxed)) {
    const std::size_t index = next_piece_.fetch_add(1, std::memory_order_relaxed);
    if (index >= pieces_.size()) return;
    Item& item = *pieces_[index].item;
    try {
      if (item.done) begin(item);
      // A vector is one piece, so nobody else has it.
      if (item.vector_done) item.vector->resize(static_cast<std::size_t>(item.rows * item.columns));
      load(pieces_[index], buffers);
      // A piece that was called off may be half there.
      if (cancelled_.load()) return;
      if (item.done) finish(item);
      if (item.vector_done) item.vector_done();
    } catch (const Error& error) {
      fail(index, error);
    } catch (const std::exception&) {
      fail(index, std::nullopt);
    }
  }
}

void TensorLoader::advance(std::uint64_t bytes) {
  const std::uint64_t completed = completed_.fetch_add(bytes) + bytes;
  if (progress_) progress_(completed, total_);
}

void TensorLoader::fail(std::size_t piece, std::optional<Error> error) {
  const std::lock_guard lock{failure_mutex_};
  if (piece < failed_piece_) {
    failed_piece_ = piece;
    failure_ = std::move(error);
  }
  failed_.store(true);
}

void TensorLoader::begin(Item& item) {
  const std::lock_guard lock{stream_mutex_};
  if (item.matrix->data.size() == 0) item.matrix->data = Memory(item.matrix->size_in_bytes());
}

void TensorLoader::finish(Item& item) {
  {
    const std::lock_guard lock{stream_mutex_};
    if (--item.pieces_left > 0) return;
  }
  item.done(*item.matrix);
  item.matrix->data = Memory{};
}

void TensorLoader::load(const Piece& piece, Buffers& buffers) {
  Item& item = *piece.item;
  if (item.kept) {
    load_kept(item, piece.row, piece.rows);
    return;
  }
  if (piece.row < 0) {
    load_whole(item, buffers);
    return;
  }
  const FileReader& reader = *readers_[item.tensor->file];
  const auto width = static_cast<std::uint64_t>(bytes_of(item.tensor->type));
  const auto row_bytes = static_cast<std::size_t>(item.columns) * width;
  const auto rows = static_cast<std::size_t>(piece.rows);
  const auto stride_bytes = static_cast<std::uint64_t>(item.row_stride) * width;
  const std::uint64_t begin = item.tensor->offset + static_cast<std::uint64_t>(piece.row) * stride_bytes;
  buffers.raw.resize(row_bytes * rows);
  if (rows == 1 || stride_bytes == row_bytes) {
    reader.read(begin, buffers.raw.data(), row_bytes * rows);
    if (drop_[item.tensor->file]) reader.drop(begin, row_bytes * rows);
  } else {
    for (std::size_t row = 0; row < rows; ++row) {
      reader.read(begin + row * stride_bytes, buffers.raw.data() + row * row_bytes, row_bytes);
    }
  }
  store(item, piece.row, piece.rows, buffers.raw.data(), buffers);
}

void TensorLoader::load_whole(Item& item, Buffers& buffers) {
  const std::uint64_t extent = checked_extent(directory_, *item.tensor);
  if (extent > kMostWhole) {
    throw Error("ERR_WKV_UNSUPPORTED",
                "the tensor " + item.tensor->name + " is a transposed view of more than 512 MiB")
        .about(item.tensor->name, "rows that are contiguous", "strides " + shape_text(item.tensor->strides));
  }
  // One at a time, however many threads there are.
  const std::lock_guard one{whole_mutex_};
  std::vector<unsigned char> raw(extent);
  for (std::uint64_t done = 0; done < extent; done += static_cast<std::uint64_t>(kPieceBytes)) {
    if (cancelled_.load(std::memory_order_relaxed)) return;
    const auto part = std::min(extent - done, static_cast<std::uint64_t>(kPieceBytes));
    readers_[item.tensor->file]->read(item.tensor->offset + done, raw.data() + done, part);
  }
  const auto width = static_cast<std::size_t>(bytes_of(item.tensor->type));
  if (item.irregular) {
    buffers.gathered.resize(static_cast<std::size_t>(item.columns) * width);
    unsigned char* to = buffers.gathered.data();
    for_each_element(*item.tensor, [&](std::int64_t index) {
      std::memcpy(to, raw.data() + static_cast<std::size_t>(index) * width, width);
      to += width;
    });
    store(item, 0, 1, buffers.gathered.data(), buffers);
    return;
  }
  for (std::int64_t row = 0; row < item.rows; row += item.piece_rows) {
    const std::int64_t rows = std::min(item.piece_rows, item.rows - row);
    buffers.gathered.resize(static_cast<std::size_t>(rows * item.columns) * width);
    unsigned char* to = buffers.gathered.data();
    for (std::int64_t r = row; r < row + rows; ++r) {
      for (std::int64_t column = 0; column < item.columns; ++column, to += width) {
        const auto index = static_cast<std::size_t>(r * item.row_stride + column * item.column_stride);
        std::memcpy(to, raw.data() + index * width, width);
      }
    }
    if (cancelled_.load(std::memory_order_relaxed)) return;
    store(item, row, rows, buffers.gathered.data(), buffers);
  }
}

void TensorLoader::load_kept(Item& item, std::int64_t row, std::int64_t rows) {
  if (item.row_matrix != nullptr) {
    const std::int64_t row_bytes = item.columns * bytes_of(item.tensor->type);
    const auto* elements = static_cast<const unsigned char*>(std::as_const(item.row_matrix->data).data());
    require_finite(item, row, rows, elements + row * row_bytes);
    advance(static_cast<std::uint64_t>(rows * row_bytes));
    return;
  }
  Matrix& matrix = *item.matrix;
  const auto place_of = [&](std::int64_t first) {
    const auto* all = static_cast<const unsigned char*>(std::as_const(matrix.data).data());
    return first >= item.rows
               ? matrix.data.size()
               : static_cast<std::size_t>(std::as_const(matrix).panel(static_cast<int>(first)) - all);
  };
  const std::size_t begin = place_of(row);
  const std::size_t bytes = place_of(row + rows) - begin;
  if (!matrix.data.is_part()) {
    const FileReader& reader = *readers_[item.tensor->file];
    const std::uint64_t offset = item.tensor->offset + begin;
    reader.read(offset, static_cast<unsigned char*>(matrix.data.data()) + begin, bytes);
    if (drop_[item.tensor->file]) reader.drop(offset, bytes);
  }
  check_panels(matrix, item.tensor->name, static_cast<int>(row), static_cast<int>(rows));
  advance(bytes);
}

void TensorLoader::require_finite(const Item& item, std::int64_t row, std::int64_t rows,
                                  const unsigned char* elements) {
  const StoredType from = item.tensor->type;
  const std::int64_t bad = first_not_finite(from, elements, rows * item.columns);
  if (bad < 0) return;
  const std::string index = std::to_string(row * item.columns + bad);
  throw Error("ERR_WKV_FORMAT",
              "the tensor " + item.tensor->name + " holds a NaN or an infinity at element " + index)
      .about(item.tensor->name, "finite numbers",
             std::to_string(widened(from, elements, bad)) + " at element " + index);
}

void TensorLoader::store(Item& item, std::int64_t row, std::int64_t rows, const unsigned char* elements,
                         Buffers& buffers) {
  const StoredType from = item.tensor->type;
  const std::int64_t count = rows * item.columns;
  require_finite(item, row, rows, elements);
  const auto bytes = static_cast<std::size_t>(count * bytes_of(from));
  item.piece_hashes[static_cast<std::size_t>(row / item.piece_rows)] = xxh64(elements, bytes);
  if (item.show) {
    item.show(static_cast<std::uint64_t>(row * item.columns * bytes_of(from)), {elements, bytes});
  }

  if (item.vector != nullptr) {
    for (std::int64_t i = 0; i < count; ++i) {
      (*item.vector)[static_cast<std::size_t>(row * item.columns + i)] = widened(from, elements, i);
    }
  } else if (item.matrix != nullptr && is_quantized(item.matrix->precision)) {
    store_quantized(item, row, rows, elements, buffers);
  } else if (item.matrix != nullptr || item.row_matrix != nullptr) {
    const StoredType to =
        item.matrix != nullptr ? stored_type_of(item.matrix->precision) : item.row_matrix->type;
    const auto from_width = static_cast<std::size_t>(bytes_of(from));
    const auto to_width = static_cast<std::size_t>(bytes_of(to));
    auto* base = static_cast<unsigned char*>(item.matrix != nullptr ? item.matrix->data.data()
                                                                    : item.row_matrix->data.data());
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t column = 0; column < item.columns; column += kPanelColumns) {
        const std::int64_t width = std::min<std::int64_t>(kPanelColumns, item.columns - column);
        std::int64_t place = (row + r) * item.columns + column;
        if (item.matrix != nullptr) {
          const std::int64_t panel = (row + r) / kPanelRows * kPanelRows;
          place =
              panel * item.matrix->padded_columns + column * kPanelRows + (row + r - panel) * kPanelColumns;
        }
        unsigned char* destination = base + static_cast<std::size_t>(place) * to_width;
        const std::int64_t first = r * item.columns + column;
        if (from == to) {
          std::memcpy(destination, elements + static_cast<std::size_t>(first) * from_width,
                      static_cast<std::size_t>(width) * to_width);
          continue;
        }
        for (std::int64_t i = 0; i < width; ++i) {
          convert(from, elements, first + i, to, destination + static_cast<std::size_t>(i) * to_width);
        }
        if (const std::int64_t bad = first_not_finite(to, destination, width); bad >= 0) {
          throw Error("ERR_WKV_UNSUPPORTED",
                      "the tensor " + item.tensor->name + " holds numbers that " + name_of(to) +
                          " cannot; use weights: " + (to == StoredType::kF16 ? "'bf16' or 'f32'" : "'f32'"))
              .about(item.tensor->name, to == StoredType::kF16 ? "at most 65504" : "at most 3.389e38",
                     std::to_string(widened(from, elements, first + bad)));
        }
      }
    }
  }
  advance(bytes);
}

void TensorLoader::store_quantized(Item& item, std::int64_t row, std::int64_t rows,
                                   const unsigned char* elements, Buffers& buffers) {
  const Matrix& matrix = *item.matrix;
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
  const float most = matrix.precision == Precision::kInt4 ? kMostInt4Weight : 3.389e38F;
  for (std::int64_t r = row; r < row + rows; ++r) {
    for (std::size_t column = 0; column < columns; ++column) {
      buffers.numbers[column] =
          widened(item.tensor->type, elements, (r - row) * item.columns + static_cast<std::int64_t>(column));
    }
    if (item.visit) item.visit(r, buffers.numbers);
    for (std::size_t column = 0; column < matrix.input_scales.size(); ++column) {
      buffers.numbers[column] /= matrix.input_scales[column];
    }
    if (!std::all_of(buffers.numbers.begin(), buffers.numbers.end(),
                     [most](float number) { return std::fabs(number) <= most; })) {
      const bool int4 = matrix.precision == Precision::kInt4;
      throw Error("ERR_WKV_UNSUPPORTED", "the tensor " + item.tensor->name + " holds numbers that " +
                                             name_of(matrix.precision) +
                                             " cannot; use weights: " + (int4 ? "'int8'" : "'f32'"))
          .about(item.tensor->name, int4 ? "numbers up to 61" : "numbers below 1e36",
                 "larger ones in row " + std::to_string(r));
    }
    quantize_row(*item.matrix, static_cast<int>(r), buffers);
  }
}

void TensorLoader::quantize_row(Matrix& matrix, int row, Buffers& buffers) {
  const KernelTable& kernels = selected_kernels();
  for (int begin = 0, index = 0; begin < matrix.columns; begin += matrix.group, ++index) {
    const int size = std::min(matrix.group, matrix.columns - begin);
    const float* weights = buffers.numbers.data() + begin;
    if (matrix.precision == Precision::kInt4) {
      std::array<unsigned char, kMostInt4Group / kGroupStep> indices;
      const unsigned char scale = kernels.quantize_int4({.weights = weights,
                                                         .importance = buffers.importance.data() + begin,
                                                         .size = size,
                                                         .codes = buffers.codes.data(),
                                                         .indices = indices.data()});
      matrix.put_int4(row, index, buffers.codes.data(), indices.data(), scale);
    } else {
      const float scale = kernels.quantize_weights(weights, size, buffers.codes.data());
      matrix.put_int8(row, index, buffers.codes.data(), scale);
    }
  }
}

std::map<std::string, std::uint64_t> TensorLoader::hashes() const {
  std::map<std::string, std::uint64_t> result;
  for (const auto& item : items_) {
    if (item->kept) continue;
    result[item->tensor->name] =
        xxh64(item->piece_hashes.data(), item->piece_hashes.size() * sizeof(std::uint64_t));
  }
  return result;
}

void RowMatrix::read_row(int row, float* output) const {
  const auto* elements =
      static_cast<const unsigned char*>(data.data()) + std::ptrdiff_t{row} * columns * bytes_of(type);
  for (int i = 0; i < columns; ++i) output[i] = widened(type, elements, i);
}

}  // namespace wkv
