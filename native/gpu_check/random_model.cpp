#include "gpu_check/random_model.h"

#include <chrono>
#include <cmath>
#include <cstring>

#include "kernels/gemm_int8/gemm_int8.h"

namespace wkv::gpu_check {

namespace {

// As the engine chooses it (native/engine/matrix.h).
int group_of(int columns) {
  int group = 16;
  while (group < 256 && group * 32 <= columns) group *= 2;
  return group;
}

std::vector<unsigned char> random_panels(Random& random, int rows, int columns) {
  const int group = group_of(columns);
  const int padded = (columns + 15) / 16 * 16;
  const auto panels = static_cast<std::size_t>((rows + kInt8PanelRows - 1) / kInt8PanelRows);
  std::vector<unsigned char> bytes(panels * int8_panel_bytes(padded, group));
  for (std::size_t i = 0; i + 4 <= bytes.size(); i += 4) {
    const std::uint32_t word = random.word() | 0x01010101U;  // no code is 0
    std::memcpy(bytes.data() + i, &word, sizeof word);
  }
  // Outputs of the size of inputs: codes are about 74 from 128, a sum is of `columns` of them.
  const float scale = 1.0F / (74.0F * std::sqrt(static_cast<float>(columns)));
  for (std::size_t panel = 0; panel < panels; ++panel) {
    for (int begin = 0, index = 0; begin < padded; begin += group, ++index) {
      const int size = std::min(group, padded - begin);
      unsigned char* const place = bytes.data() + panel * int8_panel_bytes(padded, group) +
                                   int8_group_offset(index, group) +
                                   static_cast<std::size_t>(size) * kInt8PanelRows;
      for (std::size_t row = 0; row < kInt8PanelRows; ++row) {
        const float value = scale * random.number(0.5F, 1.5F);
        std::memcpy(place + row * sizeof value, &value, sizeof value);
      }
    }
  }
  return bytes;
}

}  // namespace

RandomModel::RandomModel(const Library& library, const WkvCudaShape& shape, bool share)
    : api_(*library.api), shape_(shape), share_(share), random_(17) {
  must(api_.create_model(0, &shape_, 0, &model_, &failure_), failure_);
  try {
    put_all();
  } catch (...) {
    api_.destroy_model(model_);
    throw;
  }
}

RandomModel::~RandomModel() { api_.destroy_model(model_); }

std::size_t RandomModel::page_floats() const {
  const auto head = static_cast<std::size_t>(shape_.head_size);
  return static_cast<std::size_t>(shape_.layers) * (2 * static_cast<std::size_t>(shape_.channels) +
                                                    static_cast<std::size_t>(shape_.heads) * head * head);
}

void RandomModel::put_vector(int name, int layer, int count, float low, float high) {
  std::vector<float> numbers(static_cast<std::size_t>(count));
  for (float& number : numbers) number = random_.number(low, high);
  must(api_.put_vector(model_, name, layer, numbers.data(), numbers.size(), &failure_), failure_);
}

void RandomModel::put_matrix(int name, int layer, int rows, int columns) {
  std::vector<unsigned char>& panels = panels_[{rows, columns}];
  if (panels.empty() || !share_) panels = random_panels(random_, rows, columns);
  const WkvCudaMatrix matrix{panels.data(), panels.size(), rows, columns, group_of(columns), nullptr};
  const auto begin = std::chrono::steady_clock::now();
  must(api_.put_matrix(model_, name, layer, &matrix, &failure_), failure_);
  load_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  weight_bytes_ += panels.size();
}

void RandomModel::put_all() {
  const int channels = shape_.channels;
  const int attention = shape_.heads * shape_.head_size;
  std::vector<std::uint16_t> embedding(static_cast<std::size_t>(shape_.vocabulary) *
                                       static_cast<std::size_t>(channels));
  // bf16, from 0.5 to 2 in size.
  for (std::uint16_t& half : embedding)
    half = static_cast<std::uint16_t>(0x3f00U | (random_.word() & 0x80ffU));
  must(api_.put_embedding(model_, WKV_CUDA_BF16, embedding.data(), embedding.size() * 2, &failure_),
       failure_);
  for (int name = WKV_CUDA_LN0_WEIGHT; name <= WKV_CUDA_LN_OUT_BIAS; ++name) {
    const bool bias = name == WKV_CUDA_LN0_BIAS || name == WKV_CUDA_LN_OUT_BIAS;
    put_vector(name, 0, channels, bias ? -0.2F : 0.5F, bias ? 0.2F : 1.5F);
  }
  put_matrix(WKV_CUDA_HEAD, 0, shape_.vocabulary, channels);
  for (int layer = 0; layer < shape_.layers; ++layer) {
    for (const int norm : {WKV_CUDA_LN1_WEIGHT, WKV_CUDA_LN2_WEIGHT}) {
      put_vector(norm, layer, channels, 0.5F, 1.5F);
      put_vector(norm + 1, layer, channels, -0.2F, 0.2F);
    }
    for (int mix = WKV_CUDA_ATT_MIX_K; mix <= WKV_CUDA_FFN_MIX_R; ++mix)
      put_vector(mix, layer, channels, 0, 1);
    put_vector(WKV_CUDA_ATT_FORGET, layer, attention, 1e-4F, 0.3F);
    put_vector(WKV_CUDA_ATT_BONUS, layer, attention, -1, 1);
    put_vector(WKV_CUDA_LN_X_WEIGHT, layer, attention, 0.5F, 1.5F);
    put_vector(WKV_CUDA_LN_X_BIAS, layer, attention, -0.2F, 0.2F);
    for (int matrix = WKV_CUDA_ATT_RECEPTANCE; matrix <= WKV_CUDA_ATT_GATE; ++matrix) {
      put_matrix(matrix, layer, attention, channels);
    }
    put_matrix(WKV_CUDA_ATT_OUTPUT, layer, channels, attention);
    put_matrix(WKV_CUDA_FFN_KEY, layer, shape_.feed_forward, channels);
    put_matrix(WKV_CUDA_FFN_RECEPTANCE, layer, channels, channels);
    put_matrix(WKV_CUDA_FFN_VALUE, layer, channels, shape_.feed_forward);
  }
  panels_.clear();
}

}  // namespace wkv::gpu_check
