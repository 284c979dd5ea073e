// How pieces of tensors come from their files.

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/hash.h"
#include "engine/packed_matrix.h"
#include "engine/stored_numbers.h"
#include "engine/tensor_loader.h"
#include "engine/tensor_loader_items.h"

namespace wkv {

namespace {

// A tensor whose rows cannot be read one by one is read whole; beyond this it is refused.
constexpr std::uint64_t kMaxWhole = std::uint64_t{1} << 29;

// Where a tensor's elements lie, in logical order, counted in elements from its first one.
class Places {
 public:
  explicit Places(const TensorEntry& tensor) {
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      // Strides of other dimensions are never taken, and may be anything.
      if (tensor.shape[i] > 1) axes_.push_back({tensor.shape[i], tensor.strides[i]});
    }
  }

  std::size_t next() {
    const std::int64_t place = place_;
    for (std::size_t i = axes_.size(); i-- > 0;) {
      Axis& axis = axes_[i];
      place_ += axis.stride;
      if (++axis.index < axis.size) break;
      place_ -= axis.index * axis.stride;
      axis.index = 0;
    }
    return static_cast<std::size_t>(place);
  }

 private:
  struct Axis {
    std::int64_t size;
    std::int64_t stride;
    std::int64_t index = 0;
  };
  std::vector<Axis> axes_;
  std::int64_t place_ = 0;
};

}  // namespace

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
  const StoredType type = item.tensor->type;
  const auto row_bytes = static_cast<std::size_t>(bytes_of(type, item.columns));
  const auto rows = static_cast<std::size_t>(piece.rows);
  const std::uint64_t stride_bytes =
      item.rows > 1 ? static_cast<std::uint64_t>(bytes_of(type, item.row_stride)) : row_bytes;
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
  item.piece_hashes[static_cast<std::size_t>(piece.row / item.piece_rows)] =
      xxh64(buffers.raw.data(), buffers.raw.size());
  store(item, piece.row, piece.rows, {type, buffers.raw.data()}, buffers);
  advance(buffers.raw.size());
}

void TensorLoader::load_whole(Item& item, Buffers& buffers) {
  const StoredType type = item.tensor->type;
  const std::uint64_t extent = checked_extent(directory_, *item.tensor);
  const std::uint64_t numbers =
      extent / static_cast<std::uint64_t>(bytes_of(type)) * static_cast<std::uint64_t>(form_of(type).numbers);
  if (extent > kMaxWhole || (is_of_blocks(type) && numbers * sizeof(float) > kMaxWhole)) {
    throw Error("ERR_WKV_UNSUPPORTED",
                "the tensor " + item.tensor->name + " is a transposed view of more than 512 MiB")
        .about(item.tensor->name, "rows that are contiguous", "strides " + shape_text(item.tensor->strides));
  }
  // One at a time, however many threads there are.
  const std::lock_guard one{whole_mutex_};
  // Memory is zeroed where it is written first, a piece at a time.
  if (is_of_blocks(type)) {
    Memory widened(numbers * sizeof(float));
    if (!widen_whole(item, extent, {widened.floats(), numbers}, buffers)) return;
    store_gathered(item, {StoredType::kF32, static_cast<const unsigned char*>(std::as_const(widened).data())},
                   buffers);
    return;
  }
  Memory raw(extent);
  auto* bytes = static_cast<unsigned char*>(raw.data());
  for (std::uint64_t done = 0; done < extent; done += static_cast<std::uint64_t>(kPieceBytes)) {
    if (cancelled_.load(std::memory_order_relaxed)) return;
    const auto part = std::min(extent - done, static_cast<std::uint64_t>(kPieceBytes));
    readers_[item.tensor->file]->read(item.tensor->offset + done, bytes + done, part);
  }
  store_gathered(item, {type, bytes}, buffers);
}

// All blocks of a tensor in the order of the file. False if it was called off.
bool TensorLoader::widen_whole(Item& item, std::uint64_t extent, std::span<float> numbers, Buffers& buffers) {
  const StoredType type = item.tensor->type;
  // Parts of whole blocks, as the hash wants them.
  const auto unit = 32 * static_cast<std::uint64_t>(bytes_of(type));
  const std::uint64_t most = static_cast<std::uint64_t>(kPieceBytes) / unit * unit;
  auto left = static_cast<std::uint64_t>(bytes_of(type, item.rows * item.columns));  // to be reported
  Xxh64 hash;
  for (std::uint64_t done = 0; done < extent; done += most) {
    if (cancelled_.load(std::memory_order_relaxed)) return false;
    const std::uint64_t part = std::min(extent - done, most);
    buffers.raw.resize(part);
    readers_[item.tensor->file]->read(item.tensor->offset + done, buffers.raw.data(), part);
    if (done + part < extent) {
      hash.add(buffers.raw.data(), part);
    } else {
      item.piece_hashes[0] = hash.finish(buffers.raw.data(), part);
    }
    const auto per_block = static_cast<std::uint64_t>(form_of(type).numbers);
    const std::uint64_t first = done / static_cast<std::uint64_t>(bytes_of(type)) * per_block;
    const std::uint64_t count = part / static_cast<std::uint64_t>(bytes_of(type)) * per_block;
    widen(type, buffers.raw.data(), numbers.subspan(first, count));
    // Of elements that lie at the same place one is read, and where some lie between they are read, too.
    const std::uint64_t reported = done + part < extent ? std::min(part, left) : left;
    left -= reported;
    advance(reported);
  }
  return true;
}

void TensorLoader::store_gathered(Item& item, Elements whole, Buffers& buffers) {
  const bool is_stored = whole.type == item.tensor->type;
  const auto width = static_cast<std::size_t>(bytes_of(whole.type));
  Places places(*item.tensor);
  for (std::int64_t row = 0; row < item.rows; row += item.piece_rows) {
    const std::int64_t rows = std::min(item.piece_rows, item.rows - row);
    buffers.gathered.resize(static_cast<std::size_t>(rows * item.columns) * width);
    for (std::size_t at = 0; at < buffers.gathered.size(); at += width) {
      std::memcpy(buffers.gathered.data() + at, whole.bytes + places.next() * width, width);
    }
    if (cancelled_.load(std::memory_order_relaxed)) return;
    if (is_stored) {
      item.piece_hashes[static_cast<std::size_t>(row / item.piece_rows)] =
          xxh64(buffers.gathered.data(), buffers.gathered.size());
    }
    store(item, row, rows, {whole.type, buffers.gathered.data()}, buffers);
    if (is_stored) advance(buffers.gathered.size());
  }
}

void TensorLoader::load_kept(Item& item, std::int64_t row, std::int64_t rows) {
  if (item.row_matrix != nullptr) {
    const StoredType type = item.row_matrix->type;
    const std::int64_t row_bytes = bytes_of(type, item.columns);
    const auto* elements = static_cast<const unsigned char*>(std::as_const(item.row_matrix->data).data());
    require_finite(item, row, rows, {type, elements + row * row_bytes});
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

}  // namespace wkv
