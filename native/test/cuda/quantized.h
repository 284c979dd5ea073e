#pragma once

#include <string>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "kernels/gemm/gemm.h"
#include "kernels/quantize/cuda.h"
#include "kernels/quantize/quantize.h"
#include "test/cuda/on_device.h"
#include "test/support/numbers.h"

namespace wkv::test {

// Quantized tokens in the form of the GPU's products, filled with what no kernel leaves.
struct QuantizedNumbers {
  QuantizedNumbers(int token_count, int column_count, int columns_of_a_group)
      : tokens(token_count),
        columns(column_count),
        group(columns_of_a_group),
        stride(round_up(tokens, cuda::kTokenStep)),
        codes(static_cast<std::size_t>(stride * round_up(columns, 16)), 99),
        scales(static_cast<std::size_t>(stride * ((columns + group - 1) / group)), -1) {}

  // By a kernel of the CPU's.
  void quantize(const float* x, const float* input_scales, int token,
                QuantizeActivations kernel = selected_kernels().quantize_activations) {
    std::vector<std::int32_t> offsets(scales.size());  // which only the CPU has
    kernel({.x = x,
            .input_scales = input_scales,
            .out = {cuda::kTileTokens, codes.data(), scales.data(), offsets.data(), stride},
            .token = token,
            // Whole tiles, as if there were more tokens.
            .tokens = round_up(tokens, cuda::kTileTokens),
            .columns = columns,
            .group = group,
            .weights = WeightBits::k8});
  }

  int tokens, columns, group, stride;
  std::vector<std::int8_t> codes;
  Floats scales;
};

// The same in the simulated GPU's memory.
class QuantizedOnDevice {
 public:
  explicit QuantizedOnDevice(const QuantizedNumbers& before)
      : before_(before), codes_(before.codes), scales_(before.scales) {}

  cuda::QuantizedTokens out() {
    return {codes_.data(), scales_.data(), before_.stride, before_.columns, before_.group};
  }

  // "" if everything has the bits that are expected.
  std::string difference(const QuantizedNumbers& expected) {
    if (codes_.values() != expected.codes) return "codes differ";
    return bit_difference(scales_.values(), expected.scales);
  }

 private:
  QuantizedNumbers before_;
  OnDevice<std::int8_t> codes_;
  OnDevice<float> scales_;
};

}  // namespace wkv::test
