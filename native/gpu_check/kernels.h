#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "gpu_check/random_model.h"

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

// What a product alone gives for random weights of so many bits, and activations.
inline std::vector<float> gemm_alone(const Library& library, int bits, int tokens, int rows, int columns,
                                     int group) {
  Random random(6);
  const std::vector<unsigned char> panels = random_panels(random, bits, rows, columns, group);
  const auto activations = random_numbers(random, tokens * columns, -1, 1);
  std::vector<float> output(static_cast<std::size_t>(tokens) * static_cast<std::size_t>(rows));
  const WkvCudaGemm arguments{.weights = {.panels = panels.data(),
                                          .bytes = panels.size(),
                                          .bits = bits,
                                          .rows = rows,
                                          .columns = columns,
                                          .group = group,
                                          .input_scales = nullptr},
                              .activations = activations.data(),
                              .output = output.data(),
                              .tokens = tokens};
  WkvCudaFailure failure{};
  must(library.api->gemm(0, &arguments, &failure), failure);
  return output;
}

}  // namespace wkv::gpu_check
