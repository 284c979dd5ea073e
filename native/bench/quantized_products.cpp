#include "bench/quantized_products.h"

#include <algorithm>
#include <cstdint>
#include <random>

#include "backend/cpu/cpu_features.h"
#include "bench/bench.h"

namespace wkv::bench {

QuantizedProducts::QuantizedProducts(Precision precision, unsigned threads, int rows, int columns, int group)
    : threads_(threads),
      scratch_(threads, kBlockTokens, columns),
      input_(kBlockTokens, columns),
      output_(kBlockTokens, rows) {
  std::mt19937_64 random(1);
  for (std::size_t bytes = 0; bytes < kMatrixBytes; bytes += matrix_bytes()) {
    Matrix& matrix =
        matrices_.emplace_back(precision, rows, columns, group == 0 ? group_for(precision, columns) : group);
    auto* words = static_cast<std::uint64_t*>(matrix.data.data());
    // Scales too are random bits, of exponents that keep products finite.
    for (std::size_t i = 0; i < matrix.data.size() / 8; ++i) words[i] = random() & 0xbfffffffbfffffffU;
  }
  std::normal_distribution<float> normal;
  for (std::size_t token = 0; token < kBlockTokens; ++token) {
    for (int i = 0; i < columns; ++i) input_.row(token)[i] = normal(random);
  }
}

double QuantizedProducts::time(int tokens, int turns) {
  return seconds([&] {
    for (int turn = 0; turn < turns; ++turn) {
      for (int done = 0; done < tokens; done += kBlockTokens) {
        const Product product[] = {{&matrices_[next_], &input_, &output_}};
        const int step = std::min(tokens - done, kBlockTokens);
        multiply(selected_kernels(), ThreadPool::process(), threads_, scratch_,
                 static_cast<std::size_t>(step), product, [](std::size_t, std::size_t, int, int) {});
      }
      next_ = (next_ + 1) % matrices_.size();
    }
  });
}

}  // namespace wkv::bench
