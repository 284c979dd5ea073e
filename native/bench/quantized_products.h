#pragma once

// Products of one shape in int8 or int4, over so many matrices that they come from memory.

#include <cstddef>
#include <vector>

#include "engine/matrix_product.h"

namespace wkv::bench {

// What all matrices of a benchmark take together: beyond any cache.
constexpr std::size_t kMatrixBytes = std::size_t{1} << 30;

class QuantizedProducts {
 public:
  // Matrices with codes that differ; a group of 0 is the one that models have.
  QuantizedProducts(Precision precision, unsigned threads, int rows, int columns, int group);

  // Seconds of `turns` products of this many tokens, each with the next matrix. Activations are f32 and are
  // quantized, results are f32.
  double time(int tokens, int turns);

  int matrices() const { return static_cast<int>(matrices_.size()); }
  std::size_t matrix_bytes() const { return matrices_[0].data.size(); }

 private:
  unsigned threads_;
  std::vector<Matrix> matrices_;
  MatrixScratch scratch_;
  Activation input_;
  Activation output_;
  std::size_t next_ = 0;
};

}  // namespace wkv::bench
