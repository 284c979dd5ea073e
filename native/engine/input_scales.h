#pragma once

// In int8 and int4, what the inputs of matrices are multiplied by before they are quantized.
//
// The channels of a large model's activations differ a hundredfold in size, and one scale for many of them
// loses the small ones. So each channel is first brought to about the same size, and the column of weights
// takes over what that divides by: the product is the same. How large a channel will be is told from the
// weights alone: a layer norm gives numbers of variance 1 times its weight, plus its bias, and what a matrix
// makes of them follows from its rows. See docs/quantization.md for what this gains.

#include <map>
#include <vector>

#include "engine/model_weights.h"
#include "engine/tensor_loader.h"

namespace wkv {

class InputScales {
 public:
  // The places of `slots` are filled while this is used. Where not `wanted`, everything belongs to phase 0.
  InputScales(const std::vector<Slot>& slots, bool wanted);

  // When a tensor is to be read: 0 at first, 1 after the vectors, 2 after the matrices that make its inputs.
  int phase_of(const Slot& slot) const;

  // Sets the input scales of all matrices whose inputs follow from vectors; when those have been read.
  void from_vectors();
  // What has to see the rows of `matrix` while they are read; empty for most.
  TensorLoader::RowVisitor visitor(const Matrix& matrix);
  // Sets those of the other matrices; when the matrices that make their inputs have been read.
  void from_matrices();

 private:
  // Per row of a matrix: how large the products with its inputs will be.
  struct Products {
    bool squared = false;
    std::vector<double> variances;  // of the inputs
    std::vector<double> means;
    std::vector<double> sizes;
  };

  const std::vector<Slot>& slots_;
  bool wanted_;
  std::map<const Matrix*, Products> products_;
};

}  // namespace wkv
