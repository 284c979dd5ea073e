#pragma once

// What a model file's header says, as lib/formats read it. Nothing here is trusted: names may be anything,
// ranges may lie outside their files, shapes may overflow. The engine checks all of it again.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace wkv {

// The first three store each number by itself, the others, ggml's, blocks of numbers that share scales
// (kernels/dequantize).
enum class StoredType : std::uint8_t {
  kF32,
  kF16,
  kBf16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
  kIq4Nl,
  kIq4Xs
};
constexpr int kStoredTypes = 15;

// A block of a type: how many numbers it holds, in how many bytes.
struct BlockForm {
  const char* name;
  std::int64_t numbers;
  std::int64_t bytes;
};

inline const BlockForm& form_of(StoredType type) {
  static constexpr BlockForm kForms[kStoredTypes] = {
      {"f32", 1, 4},      {"f16", 1, 2},      {"bf16", 1, 2},     {"q8_0", 32, 34},   {"q4_0", 32, 18},
      {"q4_1", 32, 20},   {"q5_0", 32, 22},   {"q5_1", 32, 24},   {"q2_k", 256, 84},  {"q3_k", 256, 110},
      {"q4_k", 256, 144}, {"q5_k", 256, 176}, {"q6_k", 256, 210}, {"iq4_nl", 32, 18}, {"iq4_xs", 256, 136}};
  return kForms[static_cast<std::size_t>(type)];
}

inline const char* name_of(StoredType type) { return form_of(type).name; }
inline bool is_of_blocks(StoredType type) { return form_of(type).numbers > 1; }
// Of a block, which is one number where numbers are stored by themselves.
inline std::int64_t bytes_of(StoredType type) { return form_of(type).bytes; }
// Of so many numbers in whole blocks.
inline std::int64_t bytes_of(StoredType type, std::int64_t numbers) {
  return numbers / form_of(type).numbers * form_of(type).bytes;
}

// What a file's writer has applied to a tensor's numbers; loading takes it back.
enum class Applied : std::uint8_t { kNothing, kExp, kNegativeExp, kExpOfNegativeExp };

inline const char* name_of(Applied applied) {
  static constexpr const char* kNames[] = {"", "exp", "-exp", "exp(-exp)"};
  return kNames[static_cast<std::size_t>(applied)];
}

struct SourceFile {
  std::string path;
  std::uint64_t size = 0;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t modified_ns = 0;
  bool temporary = false;  // made anew at each opening, of what another of the files holds
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
  std::vector<std::int64_t> strides = {};  // in elements; those of blocks follow each other as in their rows
  std::uint32_t file = 0;
  std::uint64_t offset = 0;                // in bytes, of the element with all indices 0, or of its block
  std::optional<PackedBlock> packed = {};  // at `offset`; `type` and `strides` then say nothing
  Applied applied = Applied::kNothing;
  float scale = 1;  // a power of two that the numbers have to be multiplied by
};

// Whether the stored numbers are the tensor's as they are.
inline bool is_plain(const TensorEntry& tensor) {
  return !is_of_blocks(tensor.type) && tensor.applied == Applied::kNothing && tensor.scale == 1;
}

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

// Throws ERR_WKV_FORMAT unless every element of the tensor lies inside its file, in whole blocks where its
// type has blocks, and its scale is a power of two. Returns the bytes from the first to the last element,
// inclusive.
std::uint64_t checked_extent(const TensorDirectory& directory, const TensorEntry& tensor);

}  // namespace wkv
