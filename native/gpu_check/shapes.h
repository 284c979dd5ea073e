#pragma once

// Shapes of models.

#include <utility>
#include <vector>

#include "backend/cuda/api.h"

namespace wkv::gpu_check {

// RWKV-5.2, with as many sessions in a step as it has tokens at most.
constexpr WkvCudaShape shape_of(int layers, int channels, int heads, int head_size, int feed_forward,
                                int vocabulary, int tokens) {
  return {.architecture = WKV_CUDA_RWKV5,
          .layers = layers,
          .channels = channels,
          .heads = heads,
          .head_size = head_size,
          .feed_forward = feed_forward,
          .vocabulary = vocabulary,
          .max_tokens = tokens,
          .max_segments = tokens,
          .group_norm_epsilon = 64e-5F,
          .mix_rank = 0,
          .decay_rank = 0,
          .rate_rank = 0,
          .value_rank = 0,
          .gate_rank = 0};
}

// Prompts are computed by 1,024 tokens at most, and 512 sessions together.
inline std::vector<std::pair<const char*, WkvCudaShape>> published_shapes() {
  std::vector<std::pair<const char*, WkvCudaShape>> shapes = {
      {"1.5B", shape_of(24, 2048, 32, 64, 7168, 65'536, 1024)},
      {"7B", shape_of(32, 4096, 64, 64, 14'336, 65'536, 1024)}};
  for (auto& [name, shape] : shapes) shape.max_segments = 512;
  return shapes;
}

}  // namespace wkv::gpu_check
