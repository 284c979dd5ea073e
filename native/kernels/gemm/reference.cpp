#include <cstdint>

#include "kernels/gemm/gemm.h"
#include "kernels/simd/half.h"

namespace wkv::reference {

namespace {

template <class Element, class Widen>
void gemm(const GemmArguments& a, Widen widen) {
  const auto* weights = static_cast<const Element*>(a.weights);
  for (int t = 0; t < a.tokens; ++t) {
    for (int row = 0; row < a.rows; ++row) {
      const Element* panel = weights + std::ptrdiff_t{row / kPanelRows} * kPanelRows * a.padded_columns;
      double sum = 0;
      for (int column = 0; column < a.padded_columns; ++column) {
        const std::ptrdiff_t group = column / kPanelColumns * kPanelRows + row % kPanelRows;
        const float weight = widen(panel[group * kPanelColumns + column % kPanelColumns]);
        sum += static_cast<double>(weight) * static_cast<double>(a.x[t * a.x_stride + column]);
      }
      a.output[t * a.output_stride + row] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void gemm_f32(const GemmArguments& a) {
  gemm<float>(a, [](float weight) { return weight; });
}
void gemm_f16(const GemmArguments& a) { gemm<std::uint16_t>(a, f16_to_f32); }
void gemm_bf16(const GemmArguments& a) { gemm<std::uint16_t>(a, bf16_to_f32); }

}  // namespace wkv::reference
