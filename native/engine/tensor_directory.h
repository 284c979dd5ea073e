#pragma once

// What a model file's header says, as lib/formats read it. Nothing here is trusted: names may be anything,
// ranges may lie outside their files, shapes may overflow. The engine checks all of it again.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace wkv {

enum class StoredType : std::uint8_t { kF32, kF16, kBf16 };

inline std::int64_t bytes_of(StoredType type) { return type == StoredType::kF32 ? 4 : 2; }
inline const char* name_of(StoredType type) {
  return type == StoredType::kF32 ? "f32" : type == StoredType::kF16 ? "f16" : "bf16";
}

struct SourceFile {
  std::string path;
  std::uint64_t size = 0;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t modified_ns = 0;
};

enum class Precision : std::uint8_t;

// A weight matrix that the file has as the engine keeps it, in one block: docs/packed-format.md.
struct PackedBlock {
  std::uint64_t bytes = 0;
  int group = 0;  // columns that share a scale; 0: all of a row
  Precision precision = {};
};

struct TensorEntry {
  std::string name;
  StoredType type = StoredType::kF32;
  std::vector<std::int64_t> shape = {};
  std::vector<std::int64_t> strides = {};  // in elements
  std::uint32_t file = 0;
  std::uint64_t offset = 0;                // in bytes, of the element with all indices 0
  std::optional<PackedBlock> packed = {};  // at `offset`; `type` and `strides` then say nothing
};

// What a packed file says of itself.
struct PackedModel {
  Precision weights = {};
  std::string fingerprint;  // of the weights that were packed: 32 hex digits
};

struct TensorDirectory {
  std::vector<SourceFile> files;
  std::vector<TensorEntry> tensors;
  std::optional<PackedModel> packed = {};
};

// "[2, 3]"
std::string shape_text(const std::vector<std::int64_t>& shape);

// Number of elements. Throws ERR_WKV_FORMAT if a dimension is not positive or the product exceeds 2^40.
std::int64_t element_count(const TensorEntry& tensor);

// Throws ERR_WKV_FORMAT unless every element of the tensor lies inside its file. Returns the bytes from the
// first to the last element, inclusive.
std::uint64_t checked_extent(const TensorDirectory& directory, const TensorEntry& tensor);

}  // namespace wkv
