#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/file_reader.h"
#include "engine/matrix.h"
#include "engine/tensor_directory.h"

namespace wkv {

// Called from loading threads, often; bytes read so far and in all. An Error that it throws ends the loading.
using LoadProgress = std::function<void(std::uint64_t completed, std::uint64_t total)>;

// What a conversion is shown of a tensor, and so what a packed file has it as (lib/formats/packed.ts knows
// it, too): what the file has, unless that is blocks or numbers that something was done to.
StoredType shown_type(const TensorEntry& tensor);

// Reads tensors in pieces of about a megabyte, in parallel and in the order of the file, checks that every
// number is finite, dequantizes, converts and packs. Beside the destinations it holds a few pieces at a time.
class TensorLoader {
 public:
  TensorLoader(const TensorDirectory& directory, unsigned threads, const std::atomic<bool>& cancelled,
               LoadProgress progress);
  ~TensorLoader();

  // Called, on any thread, when a destination is complete. One that was added with it has its memory only
  // from its first piece on until then.
  using Done = std::function<void()>;
  // Is shown each row's numbers, in any order and on any thread.
  using RowVisitor = std::function<void(std::int64_t row, std::span<const float> numbers)>;
  // Is shown stored elements, and where in the tensor's bytes they belong; in any order and on any thread.
  using BytesVisitor = std::function<void(std::uint64_t offset, std::span<const unsigned char> elements)>;

  // Destinations must outlive run(). The shapes must have been checked against the tensor's. A vector's
  // elements are shown as shown_type.
  void add(const TensorEntry& tensor, Matrix& destination, RowVisitor visit = {}, Done done = {});
  void add(const TensorEntry& tensor, RowMatrix& destination, Done done = {});
  void add(const TensorEntry& tensor, std::vector<float>& destination, BytesVisitor show = {},
           Done done = {});

  // Only shows a matrix, with elements of this type.
  void show(const TensorEntry& matrix, StoredType type, BytesVisitor show);

  // Of packed files, whose bytes are what is kept: a matrix as packed_form() gives it, or rows without gaps.
  // With `mapped` the destination becomes a part of the file, if the system can map it, else a copy.
  void keep(const TensorEntry& tensor, Matrix& destination, bool mapped, Done done = {});
  void keep(const TensorEntry& tensor, RowMatrix& destination, bool mapped, Done done = {});

  // What is added from now on is read only when everything that was added before has been, and after
  // `prepare` has run.
  void then(std::function<void()> prepare);

  // Throws Error, Cancelled or std::bad_alloc; the destinations are then undefined.
  void run();

  // After run(): a hash of each tensor's stored elements in logical order, whatever the file's layout, and of
  // what was done to them. Blocks that do not lie along rows are hashed in the order of the file, with their
  // strides.
  std::map<std::string, std::uint64_t> hashes() const;

 private:
  struct Item;
  struct Piece;
  struct Buffers;
  struct Elements;

  static Item item_of_matrix(const TensorEntry& tensor, Done done);
  void add_item(Item item);
  // Makes the destination a part of the file; false where the system cannot map it.
  bool map(const TensorEntry& tensor, Memory& destination, std::size_t bytes);
  void cut(Item& item);
  void begin(Item& item);
  void finish(Item& item);
  void load(const Piece& piece, Buffers& buffers);
  void load_whole(Item& item, Buffers& buffers);
  bool widen_whole(Item& item, std::uint64_t extent, std::span<float> numbers, Buffers& buffers);
  void store_gathered(Item& item, Elements whole, Buffers& buffers);
  void load_kept(Item& item, std::int64_t row, std::int64_t rows);

  // `elements` are those of whole rows. (tensor_loader_store.cpp)
  static void require_finite(const Item& item, std::int64_t row, std::int64_t rows, Elements elements);
  static void store(Item& item, std::int64_t row, std::int64_t rows, Elements elements, Buffers& buffers);
  static void show(const Item& item, std::int64_t row, std::int64_t rows, Elements elements,
                   Buffers& buffers);
  static void store_rows(Item& item, std::int64_t row, std::int64_t rows, Elements elements);
  static void store_quantized(Item& item, std::int64_t row, std::int64_t rows, Elements elements,
                              Buffers& buffers);
  void run_phase(std::size_t phase);
  void work();
  void advance(std::uint64_t bytes);
  void fail(std::size_t piece);

  const TensorDirectory& directory_;
  const unsigned threads_;
  const std::atomic<bool>& cancelled_;
  const LoadProgress progress_;
  std::vector<std::unique_ptr<FileReader>> readers_;
  std::vector<bool> drop_;  // per file: larger than what should stay in the page cache
  std::map<std::uint32_t, std::shared_ptr<const unsigned char>> mappings_;  // by file; null: it cannot be
  std::vector<std::unique_ptr<Item>> items_;
  std::vector<std::function<void()>> phases_{[] {}};  // what comes before each
  std::vector<Piece> pieces_;                         // of a phase
  std::atomic<std::size_t> next_piece_{0};
  std::atomic<std::uint64_t> completed_{0};
  std::atomic<bool> failed_{false};
  std::uint64_t total_ = 0;
  Caught failure_;  // of the first piece that failed
  std::size_t failed_piece_ = SIZE_MAX;
  std::mutex failure_mutex_;
  std::mutex stream_mutex_;  // guards the beginning and the end of what has memory only for a time
  std::mutex whole_mutex_;   // held by whoever has a whole tensor in memory
};

}  // namespace wkv
