#include "gpu_check/random_model.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>

#include "backend/cuda/tensors.h"
#include "kernels/gemm_int4/gemm_int4.h"
#include "kernels/gemm_int8/gemm_int8.h"
#include "kernels/simd/half.h"

namespace wkv::gpu_check {

namespace {

// As the engine chooses it (native/engine/matrix.h).
int group_of(int bits, int columns) {
  if (bits == 4) return std::min(kMaxInt4Group, (columns + 15) / 16 * 16);
  int group = 16;
  while (group < 256 && group * 32 <= columns) group *= 2;
  return group;
}

std::vector<unsigned char> random_int8_panels(Random& random, int rows, int columns, int group) {
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

std::vector<unsigned char> random_int4_panels(Random& random, int rows, int columns, int group) {
  const int padded = (columns + 15) / 16 * 16;
  const std::size_t panel_bytes = int4_panel_bytes(padded, group);
  const auto panels = static_cast<std::size_t>((rows + kInt8PanelRows - 1) / kInt8PanelRows);
  std::vector<unsigned char> bytes(panels * panel_bytes);
  for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(random.word());
  // Outputs of the size of inputs: codes times multipliers are about 370. Scales are floats of 8 bits from
  // 2^-20 on, 16 for each power of two.
  const auto least =
      static_cast<std::uint32_t>(16 * (20 - std::log2(370 * std::sqrt(static_cast<double>(columns)))));
  for (std::size_t panel = 0; panel < bytes.size(); panel += panel_bytes) {
    const auto scales = panel + static_cast<std::size_t>(int4_scales_offset(padded));
    for (std::size_t i = scales; i < panel + panel_bytes; ++i) {
      bytes[i] = static_cast<unsigned char>(least + random.word() % 8);
    }
  }
  return bytes;
}

// Of what a vector's numbers are drawn.
std::pair<float, float> range_of(const WkvCudaShape& shape, WkvCudaVector name) {
  switch (name) {
    case WKV_CUDA_LN0_WEIGHT:
    case WKV_CUDA_LN_OUT_WEIGHT:
    case WKV_CUDA_LN1_WEIGHT:
    case WKV_CUDA_LN2_WEIGHT:
    case WKV_CUDA_LN_X_WEIGHT:
      return {0.5F, 1.5F};
    case WKV_CUDA_LN0_BIAS:
    case WKV_CUDA_LN_OUT_BIAS:
    case WKV_CUDA_LN1_BIAS:
    case WKV_CUDA_LN2_BIAS:
    case WKV_CUDA_LN_X_BIAS:
      return {-0.2F, 0.2F};
    case WKV_CUDA_ATT_DECAY:
      if (shape.architecture == WKV_CUDA_RWKV4) return {-2, -1e-3F};
      if (shape.architecture == WKV_CUDA_RWKV6) return {-7, 0};
      return shape.architecture == WKV_CUDA_RWKV7 ? std::pair{-3.0F, 2.0F} : std::pair{1e-4F, 0.3F};
    default:
      return name >= WKV_CUDA_ATT_MIX_X && name <= WKV_CUDA_FFN_MIX_R ? std::pair{0.0F, 1.0F}
                                                                      : std::pair{-1.0F, 1.0F};
  }
}

}  // namespace

std::vector<unsigned char> random_panels(Random& random, int bits, int rows, int columns, int group) {
  return bits == 4 ? random_int4_panels(random, rows, columns, group)
                   : random_int8_panels(random, rows, columns, group);
}

RandomModel::RandomModel(const Library& library, const WkvCudaShape& shape, bool share, int bits)
    : api_(*library.api), shape_(shape), share_(share), bits_(bits), random_(17) {
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
  return static_cast<std::size_t>(shape_.layers * cuda::layer_numbers(shape_));
}

void RandomModel::put_vector(int name, int layer, int count, float low, float high) {
  std::vector<float> numbers(static_cast<std::size_t>(count));
  for (float& number : numbers) number = random_.number(low, high);
  must(api_.put_vector(model_, name, layer, numbers.data(), numbers.size(), &failure_), failure_);
}

void RandomModel::put_matrix(int name, int layer, int rows, int columns) {
  const int bits = name == WKV_CUDA_HEAD ? 8 : bits_;
  std::vector<unsigned char>& panels = panels_[{rows, columns, bits}];
  if (panels.empty() || !share_) {
    panels = random_panels(random_, bits, rows, columns, group_of(bits, columns));
  }
  const WkvCudaMatrix matrix{panels.data(), panels.size(),           bits,   rows,
                             columns,       group_of(bits, columns), nullptr};
  const auto begin = std::chrono::steady_clock::now();
  must(api_.put_matrix(model_, name, layer, &matrix, &failure_), failure_);
  load_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  weight_bytes_ += panels.size();
}

void RandomModel::put_lora_matrix(int name, int layer, int rows, int columns) {
  // In each of the types, of a size that keeps outputs as large as inputs.
  const int type = name % 3;
  const auto numbers =
      static_cast<std::size_t>((rows + 3) / 4 * 4) * static_cast<std::size_t>((columns + 15) / 16 * 16);
  std::vector<std::uint16_t> panels(type == WKV_CUDA_F32 ? 2 * numbers : numbers);
  const float size = 1.5F / std::sqrt(static_cast<float>(columns));
  for (std::size_t i = 0; i < numbers; ++i) {
    const float number = random_.number(-size, size);
    std::uint32_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    if (type == WKV_CUDA_F32) std::memcpy(panels.data() + 2 * i, &bits, sizeof bits);
    if (type == WKV_CUDA_BF16) panels[i] = static_cast<std::uint16_t>(bits >> 16U);
    if (type == WKV_CUDA_F16) panels[i] = f32_to_f16(number);
  }
  const WkvCudaLoraMatrix matrix{panels.data(), panels.size() * 2, type, rows, columns};
  must(api_.put_lora_matrix(model_, name, layer, &matrix, &failure_), failure_);
}

void RandomModel::put_all() {
  std::vector<std::uint16_t> embedding(static_cast<std::size_t>(shape_.vocabulary) *
                                       static_cast<std::size_t>(shape_.channels));
  // bf16, from 0.5 to 2 in size.
  for (std::uint16_t& half : embedding)
    half = static_cast<std::uint16_t>(0x3f00U | (random_.word() & 0x80ffU));
  must(api_.put_embedding(model_, WKV_CUDA_BF16, embedding.data(), embedding.size() * 2, &failure_),
       failure_);
  for (int layer = 0; layer < shape_.layers; ++layer) {
    for (int i = 0; i < WKV_CUDA_VECTORS; ++i) {
      const auto name = static_cast<WkvCudaVector>(i);
      const int count = cuda::numbers_of(shape_, name, layer);
      if (count == 0 || (layer > 0 && !cuda::is_of_layer(name))) continue;
      const auto [low, high] = range_of(shape_, name);
      put_vector(name, layer, count, low, high);
    }
    for (int i = 0; i < WKV_CUDA_MATRICES; ++i) {
      const auto name = static_cast<WkvCudaMatrixName>(i);
      const cuda::Form form = cuda::form_of(shape_, name);
      if (!form.exists() || (layer > 0 && !cuda::is_of_layer(name))) continue;
      put_matrix(name, layer, form.rows, form.columns);
    }
    for (int i = 0; i < WKV_CUDA_LORA_MATRICES; ++i) {
      const auto name = static_cast<WkvCudaLoraName>(i);
      const cuda::Form form = cuda::form_of(shape_, name, layer);
      if (form.exists()) put_lora_matrix(name, layer, form.rows, form.columns);
    }
  }
  panels_.clear();
}

}  // namespace wkv::gpu_check
