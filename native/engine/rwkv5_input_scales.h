#pragma once

// In int8 and int4, what the inputs of RWKV-5's matrices are multiplied by before they are quantized.
//
// The channels of a large model's activations differ a hundredfold in size, and one scale for many of them
// loses the small ones. So each channel is first brought to about the same size, and the column of weights
// takes over what that divides by: the product is the same. How large a channel will be is told from the
// weights alone: a layer norm gives numbers of variance 1 times its weight, plus its bias. See
// docs/quantization.md for what this gains.

#include <cstdint>
#include <map>
#include <vector>

#include "engine/rwkv5_weights.h"
#include "engine/tensor_loader.h"

namespace wkv::rwkv5 {

class InputScales {
 public:
  // `weights` is filled while this is used. Where not `wanted`, everything belongs to phase 0.
  InputScales(Weights& weights, bool wanted) : weights_(weights), wanted_(wanted) {}

  // When a tensor is to be read: 0 at first, 1 after the vectors, 2 after the keys of channel mixing.
  int phase_of(const std::vector<float>&) const { return 0; }
  int phase_of(const RowMatrix&) const { return 0; }
  int phase_of(const Matrix& matrix) const;

  // Sets the input scales of all matrices but channel mixing's values; when the vectors have been read.
  void from_vectors();
  // What has to see the rows of `matrix` while they are read; empty for most.
  TensorLoader::RowVisitor visitor(const Matrix& matrix);
  // Sets those of the values; when the keys have been read.
  void from_keys();

 private:
  // Per row of a key: the mean square of relu(key x)^2, for its layer norm's x.
  struct Hidden {
    std::vector<double> variances;  // of the key's inputs
    std::vector<double> means;
    std::vector<double> sizes;
  };

  Weights& weights_;
  bool wanted_;
  std::map<const Matrix*, Hidden> hidden_;
};

}  // namespace wkv::rwkv5
