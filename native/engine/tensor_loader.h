#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
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

// Reads tensors in pieces of about a megabyte, in parallel and in the order of the file, checks that every
// number is finite, converts and packs. Beside the destinations it holds a few pieces at a time.
class TensorLoader {
 public:
  TensorLoader(const TensorDirectory& directory, unsigned threads, const std::atomic<bool>& cancelled,
               LoadProgress progress);
  ~TensorLoader();

  // Destinations must outlive run(). The shapes must have been checked against the tensor's.
  void add(const TensorEntry& tensor, Matrix& destination);
  // Also shows each row's numbers, in any order and on any thread.
  using RowVisitor = std::function<void(std::int64_t row, std::span<const float> numbers)>;
  void add(const TensorEntry& tensor, Matrix& destination, RowVisitor visit);
  void add(const TensorEntry& tensor, RowMatrix& destination);
  void add(const TensorEntry& tensor, std::vector<float>& destination);

  // What is added from now on is read only when everything that was added before has been, and after
  // `prepare` has run.
  void then(std::function<void()> prepare);

  // Throws Error, Cancelled or std::bad_alloc; the destinations are then undefined.
  void run();

  // After run(): a hash of each tensor's stored elements in logical order, whatever the file's layout.
  std::map<std::string, std::uint64_t> hashes() const;

 private:
  struct Item;
  struct Piece;
  struct Buffers;

  void load(const Piece& piece, Buffers& buffers);
  void load_whole(Item& item, Buffers& buffers);
  void store(Item& item, std::int64_t row, std::int64_t rows, const unsigned char* elements,
             Buffers& buffers);
  void store_int8(Item& item, std::int64_t row, std::int64_t rows, const unsigned char* elements,
                  Buffers& buffers);
  void run_phase(std::size_t phase);
  void work();
  void fail(std::size_t piece, std::optional<Error> error);

  const TensorDirectory& directory_;
  const unsigned threads_;
  const std::atomic<bool>& cancelled_;
  const LoadProgress progress_;
  std::vector<std::unique_ptr<FileReader>> readers_;
  std::vector<bool> drop_;  // per file: larger than what should stay in the page cache
  std::vector<std::unique_ptr<Item>> items_;
  std::vector<std::function<void()>> phases_{[] {}};  // what comes before each
  std::vector<Piece> pieces_;                         // of a phase
  std::atomic<std::size_t> next_piece_{0};
  std::atomic<std::uint64_t> completed_{0};
  std::atomic<bool> failed_{false};
  std::uint64_t total_ = 0;
  std::optional<Error> failure_;  // of the first piece that failed; none where memory ran out
  std::size_t failed_piece_ = SIZE_MAX;
  std::mutex failure_mutex_;
  std::mutex whole_mutex_;  // held by whoever has a whole tensor in memory
};

}  // namespace wkv
