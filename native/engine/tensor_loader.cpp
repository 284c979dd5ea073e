#include "engine/tensor_loader.h"

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/hash.h"
#include "engine/stored_numbers.h"
#include "engine/tensor_loader_items.h"
#include "kernels/simd/half.h"

namespace wkv {

namespace {

// Files beyond this size are not left in the page cache.
constexpr std::uint64_t kDropFrom = std::uint64_t{4} << 30;

}  // namespace

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
// spaced, or where they are not even that in rows; their stride is then 0, and Places knows where they are.
struct Flat {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
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
      return {.rows = 1, .columns = element_count(tensor), .row_stride = 0, .column_stride = 0};
    }
  }
  return flat;
}

}  // namespace

void TensorLoader::then(std::function<void()> prepare) { phases_.push_back(std::move(prepare)); }

void TensorLoader::add_item(Item item) {
  static_cast<void>(checked_extent(directory_, *item.tensor));
  item.phase = phases_.size() - 1;
  items_.push_back(std::make_unique<Item>(std::move(item)));
}

TensorLoader::Item TensorLoader::item_of_matrix(const TensorEntry& tensor, Done done) {
  return {.tensor = &tensor,
          .rows = tensor.shape[0],
          .columns = tensor.shape[1],
          .row_stride = tensor.strides[0],
          .column_stride = tensor.strides[1],
          .done = std::move(done)};
}

void TensorLoader::add(const TensorEntry& tensor, Matrix& destination, RowVisitor visit, Done done) {
  Item item = item_of_matrix(tensor, std::move(done));
  item.matrix = &destination;
  item.visit = std::move(visit);
  add_item(std::move(item));
}

void TensorLoader::add(const TensorEntry& tensor, RowMatrix& destination, Done done) {
  Item item = item_of_matrix(tensor, std::move(done));
  item.row_matrix = &destination;
  add_item(std::move(item));
}

void TensorLoader::add(const TensorEntry& tensor, std::vector<float>& destination, BytesVisitor show,
                       Done done) {
  if (!done) destination.resize(static_cast<std::size_t>(element_count(tensor)));
  const Flat flat = flatten(tensor);
  add_item({.tensor = &tensor,
            .rows = flat.rows,
            .columns = flat.columns,
            .row_stride = flat.row_stride,
            .column_stride = flat.column_stride,
            .vector = &destination,
            .shown = shown_type(tensor),
            .show = std::move(show),
            .done = std::move(done)});
}

void TensorLoader::show(const TensorEntry& matrix, StoredType type, BytesVisitor show) {
  Item item = item_of_matrix(matrix, {});
  item.shown = type;
  item.show = std::move(show);
  add_item(std::move(item));
}

bool TensorLoader::map(const TensorEntry& tensor, Memory& destination, std::size_t bytes) {
  const auto [place, is_new] = mappings_.try_emplace(tensor.file);
  const std::shared_ptr<const unsigned char>& file = place->second;
  if (is_new) place->second = readers_[tensor.file]->map();
  if (file == nullptr) return false;
  destination = Memory(file, file.get() + tensor.offset, bytes);
  return true;
}

void TensorLoader::keep(const TensorEntry& tensor, Matrix& destination, bool mapped, Done done) {
  const std::size_t bytes = destination.size_in_bytes();
  if (!(mapped && map(tensor, destination.data, bytes)) && !done) destination.data = Memory(bytes);
  add_item({.tensor = &tensor,
            .rows = destination.rows,
            .columns = destination.columns,
            .matrix = &destination,
            .kept = true,
            .done = std::move(done)});
}

void TensorLoader::keep(const TensorEntry& tensor, RowMatrix& destination, bool mapped, Done done) {
  const std::size_t bytes = destination.size_in_bytes();
  const bool is_dense =
      is_plain(tensor) && tensor.strides == std::vector<std::int64_t>{destination.columns, 1};
  Item item = item_of_matrix(tensor, std::move(done));
  item.row_matrix = &destination;
  item.kept = mapped && is_dense && map(tensor, destination.data, bytes);
  if (!item.kept && !item.done) destination.data = Memory(bytes);
  add_item(std::move(item));
}

void TensorLoader::run() {
  std::sort(items_.begin(), items_.end(), [](const auto& a, const auto& b) {
    return std::pair(a->tensor->file, a->tensor->offset) < std::pair(b->tensor->file, b->tensor->offset);
  });
  for (const auto& item : items_) cut(*item);
  for (std::size_t phase = 0; phase < phases_.size(); ++phase) run_phase(phase);
  // A mixture of two files' numbers would be a model that nobody has.
  for (const auto& reader : readers_) reader->require_unchanged();
}

void TensorLoader::cut(Item& item) {
  if (item.kept && item.matrix != nullptr) {
    const auto bytes = static_cast<std::int64_t>(item.matrix->size_in_bytes());
    const std::int64_t fitting = kPieceBytes * item.rows / bytes / kInt8PanelRows * kInt8PanelRows;
    item.piece_rows = std::max<std::int64_t>(fitting, kInt8PanelRows);
    total_ += static_cast<std::uint64_t>(bytes);
    return;
  }
  const StoredType type = item.tensor->type;
  total_ += static_cast<std::uint64_t>(bytes_of(type, item.rows * item.columns));
  const bool is_whole = !item.rows_are_contiguous();
  const StoredType read_as = is_whole && is_of_blocks(type) ? StoredType::kF32 : type;
  const std::int64_t row_bytes = bytes_of(read_as, item.columns);
  const std::int64_t fitting = kPieceBytes / row_bytes / kPanelRows * kPanelRows;
  // The same for every layout of the file, because the hash is taken over pieces. A vector is one piece.
  item.piece_rows = item.vector != nullptr ? item.rows : std::max<std::int64_t>(fitting, kPanelRows);
  const std::int64_t pieces = (item.rows + item.piece_rows - 1) / item.piece_rows;
  if (!item.kept) item.piece_hashes.resize(read_as == type ? static_cast<std::size_t>(pieces) : 1);
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
  failure_.throw_again();
}

void TensorLoader::work() {
  Buffers buffers;
  while (!cancelled_.load(std::memory_order_relaxed) && !failed_.load(std::memory_order_relaxed)) {
    const std::size_t index = next_piece_.fetch_add(1, std::memory_order_relaxed);
    if (index >= pieces_.size()) return;
    Item& item = *pieces_[index].item;
    try {
      if (item.done) begin(item);
      load(pieces_[index], buffers);
      // A piece that was called off may be half there.
      if (cancelled_.load()) return;
      if (item.done) finish(item);
    } catch (const std::exception&) {
      fail(index);
    }
  }
}

void TensorLoader::advance(std::uint64_t bytes) {
  const std::uint64_t completed = completed_.fetch_add(bytes) + bytes;
  if (progress_) progress_(completed, total_);
}

// Notes what is being caught.
void TensorLoader::fail(std::size_t piece) {
  const std::lock_guard lock{failure_mutex_};
  if (piece < failed_piece_) {
    failed_piece_ = piece;
    failure_.note();
  }
  failed_.store(true);
}

void TensorLoader::begin(Item& item) {
  const std::lock_guard lock{stream_mutex_};
  if (item.vector != nullptr) {
    item.vector->resize(static_cast<std::size_t>(item.rows * item.columns));
  } else if (item.memory().size() == 0) {
    item.memory() = Memory(item.memory_bytes());
  }
}

void TensorLoader::finish(Item& item) {
  {
    const std::lock_guard lock{stream_mutex_};
    if (--item.pieces_left > 0) return;
  }
  item.done();
  if (item.vector != nullptr) {
    *item.vector = {};
  } else {
    item.memory() = Memory{};
  }
}

std::map<std::string, std::uint64_t> TensorLoader::hashes() const {
  std::map<std::string, std::uint64_t> result;
  for (const auto& item : items_) {
    if (item->kept) continue;
    const TensorEntry& tensor = *item->tensor;
    std::vector<std::uint64_t> parts = item->piece_hashes;
    if (is_of_blocks(tensor.type) && !item->rows_are_contiguous()) {
      parts.insert(parts.end(), tensor.strides.begin(), tensor.strides.end());
    }
    if (tensor.applied != Applied::kNothing || tensor.scale != 1) {
      parts.insert(parts.end(), {static_cast<std::uint64_t>(tensor.applied), bits_of(tensor.scale)});
    }
    result[tensor.name] = xxh64(parts.data(), parts.size() * sizeof(std::uint64_t));
  }
  return result;
}

void RowMatrix::read_row(int row, float* output) const {
  const auto* elements =
      static_cast<const unsigned char*>(data.data()) + std::ptrdiff_t{row} * columns * bytes_of(type);
  for (int i = 0; i < columns; ++i) output[i] = number_at(type, elements, i);
}

}  // namespace wkv
