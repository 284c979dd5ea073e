#pragma once

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <vector>

#include "gpu_check/random_model.h"
#include "kernels/gemm_int8/gemm_int8.h"

namespace wkv::gpu_check {

inline std::vector<float> random_numbers(Random& random, int count, float low, float high) {
  std::vector<float> numbers(static_cast<std::size_t>(count));
  for (float& number : numbers) number = random.number(low, high);
  return numbers;
}

// What the recurrence of RWKV-5 alone gives for random numbers: y, then the states.
inline std::vector<float> wkv5_alone(const Library& library, int batch, int tokens, int heads, int size) {
  Random random(5);
  const int channels = heads * size;
  const auto numbers = [&] { return random_numbers(random, batch * tokens * channels, -1, 1); };
  const auto r = numbers();
  const auto k = numbers();
  const auto v = numbers();
  const auto forget = random_numbers(random, channels, 0, 1);
  const auto u = random_numbers(random, channels, -1, 1);
  std::vector<float> state = random_numbers(random, batch * channels * size, -1, 1);
  std::vector<float> results(r.size());
  const WkvCudaWkv5 arguments{.r = r.data(),
                              .k = k.data(),
                              .v = v.data(),
                              .forget = forget.data(),
                              .u = u.data(),
                              .state = state.data(),
                              .y = results.data(),
                              .batch = batch,
                              .tokens = tokens,
                              .heads = heads,
                              .head_size = size};
  WkvCudaFailure failure{};
  must(library.api->wkv5(0, &arguments, &failure), failure);
  results.insert(results.end(), state.begin(), state.end());
  return results;
}

// What a product alone gives for random weights and activations.
inline std::vector<float> gemm_int8_alone(const Library& library, int tokens, int rows, int columns,
                                          int group) {
  Random random(6);
  std::vector<unsigned char> panels;
  const auto panel_count = static_cast<std::size_t>((rows + kInt8PanelRows - 1) / kInt8PanelRows);
  const std::size_t bytes = int8_panel_bytes(columns, group);
  for (std::size_t panel = 0; panel < panel_count; ++panel) {
    for (int begin = 0; begin < columns; begin += group) {
      const int width = std::min(group, columns - begin);
      for (int i = 0; i < width * kInt8PanelRows; ++i) {
        panels.push_back(static_cast<unsigned char>(1 + random.word() % 255));
      }
      for (const float scale : random_numbers(random, kInt8PanelRows, 0.001F, 0.01F)) {
        const auto* const scale_bytes = reinterpret_cast<const unsigned char*>(&scale);
        panels.insert(panels.end(), scale_bytes, scale_bytes + sizeof scale);
      }
    }
  }
  if (panels.size() != panel_count * bytes) throw std::logic_error("panels have another size");
  const auto activations = random_numbers(random, tokens * columns, -1, 1);
  std::vector<float> output(static_cast<std::size_t>(tokens) * static_cast<std::size_t>(rows));
  const WkvCudaGemmInt8 arguments{.weights = {.panels = panels.data(),
                                              .bytes = panels.size(),
                                              .bits = 8,
                                              .rows = rows,
                                              .columns = columns,
                                              .group = group,
                                              .input_scales = nullptr},
                                  .activations = activations.data(),
                                  .output = output.data(),
                                  .tokens = tokens};
  WkvCudaFailure failure{};
  must(library.api->gemm_int8(0, &arguments, &failure), failure);
  return output;
}

}  // namespace wkv::gpu_check
