#pragma once

// How panels are arranged, whatever the weights are stored in: a warp for each unit.

#include "kernels/cuda/launch.cuh"
#include "kernels/gemm_int8/cuda_product.cuh"

namespace wkv::cuda {

constexpr int kArrangeThreads = 256;
constexpr int kArrangeWarps = kArrangeThreads / kWarp;

// For all panels, with the kernel's blocks one row of the grid a panel.
template <class Kernel, class Panels>
void arrange_by_units(Kernel kernel, const Panels& arguments, const Cut& cut, cudaStream_t stream) {
  const auto units = static_cast<unsigned>((cut.units + kArrangeWarps - 1) / kArrangeWarps);
  const int panels = (arguments.rows + kInt8PanelRows - 1) / kInt8PanelRows;
  // As many panels as a grid has rows of blocks.
  constexpr int kMaxPanels = 65'535;
  for (int first = 0; first < panels; first += kMaxPanels) {
    Panels some = arguments;
    some.panels += first * cut.panel_bytes;
    const int count = panels - first < kMaxPanels ? panels - first : kMaxPanels;
    launch(kernel, {units, static_cast<unsigned>(count), kArrangeThreads, 0}, stream, some);
  }
}

}  // namespace wkv::cuda
