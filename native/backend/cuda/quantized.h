#pragma once

#include "backend/cuda/memory.h"
#include "backend/cuda/weights.h"
#include "kernels/gemm/gemm.h"

namespace wkv::cuda {

constexpr const char* kMakingRoom = "making room for a step";

// Room for so many tokens' numbers.
inline DeviceArray<float> floats(int tokens, int channels) {
  return {static_cast<std::size_t>(tokens) * static_cast<std::size_t>(channels), kMakingRoom};
}

// Room for quantized inputs of matrices of so many columns.
class Quantized {
 public:
  Quantized(int tokens, int columns)
      : stride_(round_up(tokens, kTokenStep)),
        codes_(static_cast<std::size_t>(stride_) * static_cast<std::size_t>(round_up(columns, 16)),
               kMakingRoom),
        // No matrix of this width has more groups.
        scales_(codes_.size() / 16, kMakingRoom) {}

  QuantizedTokens of(const WeightMatrix& matrix) const {
    return {codes_.data(), scales_.data(), stride_, matrix.columns, matrix.group};
  }

 private:
  int stride_;
  DeviceArray<std::int8_t> codes_;
  DeviceArray<float> scales_;
};

}  // namespace wkv::cuda
