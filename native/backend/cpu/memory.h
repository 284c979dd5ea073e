#pragma once

#include <cstddef>
#include <memory>

namespace wkv {

// Zeroed memory for weights, states and activations, aligned to 64 bytes at least. Large blocks come straight
// from the system, on huge pages where it offers them, and go back to it at once when freed.
// Throws std::bad_alloc. Or a part of a file that is mapped.
class Memory {
 public:
  static constexpr std::size_t kMapFrom = std::size_t{1} << 20;

  Memory() = default;
  // Blocks from `map_from` bytes on come from the system, smaller ones from the heap.
  explicit Memory(std::size_t bytes, std::size_t map_from = kMapFrom);
  // The `bytes` at `part` of something that is kept for it, as FileReader::map() gives it; only to be read.
  Memory(std::shared_ptr<const void> whole, const void* part, std::size_t bytes);

  void* data() { return block_.get(); }
  const void* data() const { return block_.get(); }
  float* floats() { return static_cast<float*>(block_.get()); }
  const float* floats() const { return static_cast<const float*>(block_.get()); }
  std::size_t size() const { return bytes_; }
  bool is_mapped() const { return block_.get_deleter().mapped != 0; }
  bool is_part() const { return block_.get_deleter().whole != nullptr; }

 private:
  struct Release {
    std::size_t mapped;                 // 0: from the heap,
    std::shared_ptr<const void> whole;  // or a part of this
    void operator()(void* block) const;
  };

  std::unique_ptr<void, Release> block_;
  std::size_t bytes_ = 0;
};

}  // namespace wkv
