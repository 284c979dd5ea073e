#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/tensor_directory.h"

namespace wkv::test {

// For loading that nobody calls off.
inline const std::atomic<bool> kGoOn{false};

// A directory of its own under the system's temporary one, removed with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

void write_file(const std::string& path, const std::vector<unsigned char>& bytes);

// The file as it is now.
SourceFile source_file(const std::string& path);

struct Tensor {
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // in logical order
  StoredType type = StoredType::kF32;
};
using Tensors = std::map<std::string, Tensor>;

// How matrices lie in a file: row after row; with a gap after each row; column after column.
enum class Layout : std::uint8_t { kRows, kGaps, kColumns };

// Writes the tensors in the order of their names, or backwards, at odd offsets, and describes them.
TensorDirectory write_tensors(const std::string& path, const Tensors& tensors, Layout layout = Layout::kRows,
                              bool backwards = false);

struct Dimensions {
  std::int64_t layers = 2;
  std::int64_t embedding = 24;
  std::int64_t heads = 2;
  std::int64_t head_size = 12;
  std::int64_t feed_forward = 40;
  std::int64_t vocabulary = 19;
};

// The tensors of an RWKV-5.2 model with random weights.
Tensors random_model(const Dimensions& dimensions, unsigned seed, StoredType type = StoredType::kF32);

}  // namespace wkv::test
