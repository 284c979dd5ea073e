#pragma once

#include <cmath>
#include <random>
#include <span>
#include <vector>

#include "engine/cuda_upload.h"
#include "engine/network.h"
#include "engine/rwkv5_weights.h"
#include "kernels/quantize/quantize.h"
#include "test/support/numbers.h"

namespace wkv::test {

struct ModelShape {
  int layers = 2;
  int channels = 72;
  int heads = 2;
  int head_size = 64;
  int feed_forward = 250;
  int vocabulary = 101;
  Precision weights =
      Precision::kInt8;  // of matrices, but for the head, and the gate, which are always in int8
};

// An RWKV-5.2 with random weights in int8 or int4, in the groups that `group` gives, or the usual ones.
class RandomWeights {
 public:
  RandomWeights(const ModelShape& shape, unsigned seed, int columns_of_a_group = 0)
      : random_(seed), group_(columns_of_a_group) {
    const int attention = shape.heads * shape.head_size;
    info.architecture = "rwkv5";
    info.version = "5.2";
    info.layers = shape.layers;
    info.embedding = shape.channels;
    info.heads = shape.heads;
    info.head_size = shape.head_size;
    info.feed_forward = shape.feed_forward;
    info.vocabulary = shape.vocabulary;
    info.weights = shape.weights;
    const auto channels = static_cast<std::uint32_t>(shape.channels);
    const auto head_state = static_cast<std::uint32_t>(shape.head_size * shape.head_size);
    info.state = {static_cast<std::uint32_t>(shape.layers),
                  {{"att_x", channels, channels},
                   {"ffn_x", channels, channels},
                   {"wkv", head_state * static_cast<std::uint32_t>(shape.heads), head_state}}};
    weights.outer.embedding = RowMatrix(StoredType::kBf16, shape.vocabulary, shape.channels);
    auto* const embeddings = static_cast<std::uint16_t*>(weights.outer.embedding.data.data());
    for (std::size_t i = 0; i < weights.outer.embedding.data.size() / 2; ++i)
      embeddings[i] = f32_to_bf16(number(-1, 1));
    weights.outer.ln0 = norm(shape.channels);
    weights.outer.ln_out = norm(shape.channels);
    weights.outer.head = matrix(Precision::kInt8, shape.vocabulary, shape.channels);
    for (int i = 0; i < shape.layers; ++i) {
      Layer layer;
      layer.ln1 = norm(shape.channels);
      layer.ln2 = norm(shape.channels);
      auto& att = layer.attention;
      for (auto* mix : {&att.mix_k, &att.mix_v, &att.mix_r, &att.mix_g, &layer.feed_forward.mix_k,
                        &layer.feed_forward.mix_r}) {
        *mix = random_floats(random_, channels, 0, 1);
      }
      att.forget = random_floats(random_, static_cast<std::size_t>(attention), 0, 0.5F);
      att.bonus = random_floats(random_, static_cast<std::size_t>(attention), -1, 1);
      for (auto* each : {&att.receptance, &att.key, &att.value})
        *each = matrix(shape.weights, attention, shape.channels);
      att.gate = matrix(Precision::kInt8, attention, shape.channels);
      att.output = matrix(shape.weights, shape.channels, attention);
      att.ln_x = norm(attention);
      layer.feed_forward.key = matrix(shape.weights, shape.feed_forward, shape.channels);
      layer.feed_forward.receptance = matrix(shape.weights, shape.channels, shape.channels);
      layer.feed_forward.value = matrix(shape.weights, shape.channels, shape.feed_forward);
      weights.layers.push_back(std::move(layer));
    }
  }

  ModelInfo info;
  rwkv5::Weights weights;

 private:
  using Layer = rwkv5::Layer;

  float number(float low, float high) { return std::uniform_real_distribution<float>(low, high)(random_); }

  NormWeights norm(int size) {
    const auto count = static_cast<std::size_t>(size);
    return {random_floats(random_, count, 0.5F, 1.5F), random_floats(random_, count, -0.2F, 0.2F)};
  }

  Matrix matrix(Precision precision, int rows, int columns) {
    const int group = group_ == 0 ? group_for(precision, columns) : group_;
    Matrix result(precision, rows, columns, group);
    result.input_scales = random_floats(random_, static_cast<std::size_t>(columns), 0.5F, 2);
    const float size = 1.5F / std::sqrt(static_cast<float>(columns));
    for (int row = 0; row < rows; ++row) {
      const Floats numbers = random_floats(random_, static_cast<std::size_t>(columns), -size, size);
      for (int index = 0; index * group < columns; ++index) {
        const std::span<const float> all(numbers);
        const auto begin = static_cast<std::size_t>(index * group);
        put(result, row, index,
            all.subspan(begin, std::min(static_cast<std::size_t>(group), all.size() - begin)));
      }
    }
    info.weight_bytes += result.size_in_bytes();
    return result;
  }

  static void put(Matrix& matrix, int row, int index, std::span<const float> numbers) {
    std::vector<unsigned char> codes(numbers.size());
    const auto size = static_cast<int>(numbers.size());
    if (matrix.precision == Precision::kInt8) {
      const float scale = reference::quantize_weights(numbers.data(), size, codes.data());
      matrix.put_int8(row, index, codes.data(), scale);
      return;
    }
    const Floats importance(numbers.size(), 1);
    std::vector<unsigned char> indices((numbers.size() + kGroupStep - 1) / kGroupStep);
    const unsigned char scale =
        reference::quantize_int4({numbers.data(), importance.data(), size, codes.data(), indices.data()});
    matrix.put_int4(row, index, codes.data(), indices.data(), scale);
  }

  std::mt19937 random_;
  int group_;
};

// The model on the library's first device.
inline std::shared_ptr<const Network> on_gpu(const RandomWeights& random, const WkvCudaApi& api,
                                             float group_norm_epsilon) {
  CudaUpload upload(random.info, rwkv5::cuda_tensors(random.info, random.weights), group_norm_epsilon, api,
                    0);
  upload.put(random.weights.outer.embedding);
  upload.put(random.weights.outer.head);
  for (const rwkv5::Layer& layer : random.weights.layers) {
    const rwkv5::Attention& att = layer.attention;
    const FeedForward& ffn = layer.feed_forward;
    for (const Matrix* matrix : {&att.receptance, &att.key, &att.value, &att.gate, &att.output, &ffn.key,
                                 &ffn.receptance, &ffn.value}) {
      upload.put(*matrix);
    }
  }
  return upload.finish(random.info, tuned_state({}, true));
}

}  // namespace wkv::test
