#include "test/support/model_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <stdexcept>

#include "kernels/simd/half.h"

namespace wkv::test {

TemporaryDirectory::TemporaryDirectory() {
  std::random_device random;
  do {
    path_ = std::filesystem::temp_directory_path() / ("wkv-test-" + std::to_string(random()));
  } while (!std::filesystem::create_directory(path_));
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(const std::string& path, const std::vector<unsigned char>& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

SourceFile source_file(const std::string& path) {
  struct stat status = {};
  if (stat(path.c_str(), &status) != 0) throw std::runtime_error("no file " + path);
#if defined(__APPLE__)
  const timespec& time = status.st_mtimespec;
#else
  const timespec& time = status.st_mtim;
#endif
  // In 64 bits that wrap, as the time of a file may lie centuries ahead.
  const std::uint64_t modified =
      static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(time.tv_nsec);
  return {.path = path,
          .size = static_cast<std::uint64_t>(status.st_size),
          .device = static_cast<std::uint64_t>(status.st_dev),
          .inode = static_cast<std::uint64_t>(status.st_ino),
          .modified_ns = static_cast<std::int64_t>(modified)};
}

namespace {

void append(std::vector<unsigned char>& bytes, StoredType type, float value) {
  unsigned char element[4];
  if (type == StoredType::kF32) {
    std::memcpy(element, &value, 4);
  } else {
    const std::uint16_t half = type == StoredType::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
    std::memcpy(element, &half, 2);
  }
  bytes.insert(bytes.end(), element, element + bytes_of(type));
}

// Strides of a tensor without gaps.
std::vector<std::int64_t> dense_strides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

}  // namespace

TensorDirectory write_tensors(const std::string& path, const Tensors& tensors, Layout layout,
                              bool backwards) {
  constexpr std::int64_t kGap = 3;
  TensorDirectory directory;
  std::vector<unsigned char> bytes = {1};
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  if (backwards) std::reverse(names.begin(), names.end());
  for (const std::string& name : names) {
    const Tensor& tensor = tensors.at(name);
    TensorEntry entry{.name = name,
                      .type = tensor.type,
                      .shape = tensor.shape,
                      .strides = dense_strides(tensor.shape),
                      .file = 0,
                      .offset = bytes.size()};
    if (tensor.shape.size() != 2 || layout == Layout::kRows) {
      for (const float value : tensor.values) append(bytes, tensor.type, value);
    } else {
      const std::int64_t rows = tensor.shape[0];
      const std::int64_t columns = tensor.shape[1];
      const bool by_column = layout == Layout::kColumns;
      entry.strides =
          by_column ? std::vector{std::int64_t{1}, rows} : std::vector{columns + kGap, std::int64_t{1}};
      for (std::int64_t i = 0; i < (by_column ? columns : rows); ++i) {
        for (std::int64_t j = 0; j < (by_column ? rows : columns); ++j) {
          const std::int64_t index = by_column ? j * columns + i : i * columns + j;
          append(bytes, tensor.type, tensor.values[static_cast<std::size_t>(index)]);
        }
        // What a loader must not look at.
        for (std::int64_t gap = 0; !by_column && gap < kGap; ++gap)
          append(bytes, tensor.type, float_of(0x7fc00000U));
      }
    }
    bytes.push_back(0xff);
    directory.tensors.push_back(std::move(entry));
  }
  write_file(path, bytes);
  directory.files = {source_file(path)};
  return directory;
}

Tensors random_model(const Dimensions& d, unsigned seed, StoredType type) {
  std::mt19937 random(seed);
  Tensors tensors;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape, float low, float high) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    std::uniform_real_distribution<float> distribution(low, high);
    Tensor& tensor = tensors[name];
    tensor.type = type;
    tensor.shape = std::move(shape);
    for (std::int64_t i = 0; i < count; ++i) tensor.values.push_back(distribution(random));
  };
  const auto norm = [&](const std::string& name, std::int64_t size) {
    add(name + ".weight", {size}, 0.5F, 1.5F);
    add(name + ".bias", {size}, -0.2F, 0.2F);
  };
  const std::int64_t attention = d.heads * d.head_size;
  add("emb.weight", {d.vocabulary, d.embedding}, -1, 1);
  norm("blocks.0.ln0", d.embedding);
  for (std::int64_t layer = 0; layer < d.layers; ++layer) {
    const std::string block = "blocks." + std::to_string(layer) + ".";
    norm(block + "ln1", d.embedding);
    norm(block + "ln2", d.embedding);
    for (const char* mix : {"att.time_mix_k", "att.time_mix_v", "att.time_mix_r", "att.time_mix_g",
                            "ffn.time_mix_k", "ffn.time_mix_r"}) {
      add(block + mix, {1, 1, d.embedding}, 0, 1);
    }
    add(block + "att.time_decay", {d.heads, d.head_size}, -6, 1);
    add(block + "att.time_faaaa", {d.heads, d.head_size}, -1, 1);
    for (const char* matrix : {"receptance", "key", "value", "gate"}) {
      add(block + "att." + matrix + ".weight", {attention, d.embedding}, -0.5F, 0.5F);
    }
    add(block + "att.output.weight", {d.embedding, attention}, -0.5F, 0.5F);
    norm(block + "att.ln_x", attention);
    add(block + "ffn.key.weight", {d.feed_forward, d.embedding}, -0.5F, 0.5F);
    add(block + "ffn.receptance.weight", {d.embedding, d.embedding}, -0.5F, 0.5F);
    add(block + "ffn.value.weight", {d.embedding, d.feed_forward}, -0.5F, 0.5F);
  }
  norm("ln_out", d.embedding);
  add("head.weight", {d.vocabulary, d.embedding}, -1, 1);
  return tensors;
}

}  // namespace wkv::test
