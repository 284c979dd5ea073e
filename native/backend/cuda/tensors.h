#pragma once

#include <cstdint>
#include <initializer_list>

#include "backend/cuda/api.h"

namespace wkv::cuda {

// Which tensors a model of a shape has, and how large they are.

struct Form {
  int rows = 0;
  int columns = 0;

  bool exists() const { return rows > 0; }
};

inline int attention_channels(const WkvCudaShape& shape) { return shape.heads * shape.head_size; }

// What a layer has in a session's state: att_x and ffn_x, [channels] each, then the recurrence.
inline std::int64_t recurrence_numbers(const WkvCudaShape& shape) {
  return shape.architecture == WKV_CUDA_RWKV4 ? 3 * std::int64_t{shape.heads}
                                              : std::int64_t{shape.heads} * shape.head_size * shape.head_size;
}
inline std::int64_t layer_numbers(const WkvCudaShape& shape) {
  return 2 * std::int64_t{shape.channels} + recurrence_numbers(shape);
}

inline bool is_of_layer(WkvCudaVector name) { return name >= WKV_CUDA_LN1_WEIGHT; }
inline bool is_of_layer(WkvCudaMatrixName name) { return name != WKV_CUDA_HEAD; }

inline bool is_one_of(const WkvCudaShape& shape, std::initializer_list<WkvCudaArchitecture> architectures) {
  for (const WkvCudaArchitecture each : architectures) {
    if (shape.architecture == each) return true;
  }
  return false;
}

inline bool is_before_7(const WkvCudaShape& shape) { return shape.architecture != WKV_CUDA_RWKV7; }
inline bool has_gate_matrix(const WkvCudaShape& shape) {
  return is_one_of(shape, {WKV_CUDA_RWKV5, WKV_CUDA_RWKV6});
}

inline bool has_vector(const WkvCudaShape& shape, WkvCudaVector name, int layer) {
  switch (name) {
    case WKV_CUDA_ATT_MIX_X:
      return shape.architecture == WKV_CUDA_RWKV6;
    case WKV_CUDA_ATT_MIX_W:
      return is_one_of(shape, {WKV_CUDA_RWKV6, WKV_CUDA_RWKV7});
    case WKV_CUDA_ATT_MIX_G:
      return has_gate_matrix(shape) || shape.architecture == WKV_CUDA_RWKV7;
    case WKV_CUDA_FFN_MIX_R:
    case WKV_CUDA_ATT_BONUS:
      return is_before_7(shape);
    case WKV_CUDA_LN_X_WEIGHT:
    case WKV_CUDA_LN_X_BIAS:
      return shape.architecture != WKV_CUDA_RWKV4;
    case WKV_CUDA_ATT_FIRST:
      return shape.architecture == WKV_CUDA_RWKV7 && layer > 0;
    case WKV_CUDA_ATT_MIX_A:
    case WKV_CUDA_ATT_RATE:
    case WKV_CUDA_ATT_K_K:
    case WKV_CUDA_ATT_K_A:
    case WKV_CUDA_ATT_R_K:
      return shape.architecture == WKV_CUDA_RWKV7;
    default:
      return true;
  }
}

// What these return is 0 where there is no such tensor: not in the architecture, or not in that layer.

inline int numbers_of(const WkvCudaShape& shape, WkvCudaVector name, int layer) {
  if (!has_vector(shape, name, layer)) return 0;
  return name >= WKV_CUDA_ATT_DECAY ? attention_channels(shape) : shape.channels;
}

inline Form form_of(const WkvCudaShape& shape, WkvCudaMatrixName name) {
  const int attention = attention_channels(shape);
  switch (name) {
    case WKV_CUDA_HEAD:
      return {shape.vocabulary, shape.channels};
    case WKV_CUDA_ATT_OUTPUT:
      return {shape.channels, attention};
    case WKV_CUDA_ATT_GATE:
      return has_gate_matrix(shape) ? Form{attention, shape.channels} : Form{};
    case WKV_CUDA_FFN_KEY:
      return {shape.feed_forward, shape.channels};
    case WKV_CUDA_FFN_RECEPTANCE:
      return is_before_7(shape) ? Form{shape.channels, shape.channels} : Form{};
    case WKV_CUDA_FFN_VALUE:
      return {shape.channels, shape.feed_forward};
    default:
      return {attention, shape.channels};
  }
}

inline Form form_of(const WkvCudaShape& shape, WkvCudaLoraName name, int layer) {
  const auto down = [&](int rank) { return Form{rank, shape.channels}; };
  const auto up = [&](int rank, int channels) { return rank == 0 ? Form{} : Form{channels, rank}; };
  const int attention = attention_channels(shape);
  const int value_rank = layer == 0 ? 0 : shape.value_rank;
  switch (name) {
    case WKV_CUDA_DECAY_DOWN:
      return down(shape.decay_rank);
    case WKV_CUDA_DECAY_UP:
      return up(shape.decay_rank, attention);
    case WKV_CUDA_RATE_DOWN:
      return down(shape.rate_rank);
    case WKV_CUDA_RATE_UP:
      return up(shape.rate_rank, attention);
    case WKV_CUDA_VALUE_DOWN:
      return down(value_rank);
    case WKV_CUDA_VALUE_UP:
      return up(value_rank, attention);
    case WKV_CUDA_GATE_DOWN:
      return down(shape.gate_rank);
    case WKV_CUDA_GATE_UP:
      return up(shape.gate_rank, attention);
    default:
      return name < WKV_CUDA_MIX_W_UP ? down(shape.mix_rank) : up(shape.mix_rank, shape.channels);
  }
}

}  // namespace wkv::cuda
