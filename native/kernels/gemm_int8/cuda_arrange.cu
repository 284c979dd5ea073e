// A warp for each unit: each lane has a row, which it reads before any is written.

#include "kernels/cuda/launch.cuh"
#include "kernels/gemm_int8/cuda_product.cuh"

namespace wkv::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

WKV_KERNEL(kThreads) arrange_panels_kernel(WKV_ARGUMENTS Int8Panels a) {
  begin_next_kernel();
  await_previous_kernel();
  const Cut cut = cut_of(a.columns, a.group);
  const int unit = block_x() * kWarps + thread_index() / kWarp;
  if (unit >= cut.units) return;
  const int lane = thread_index() % kWarp;
  const int row = lane % 8 * 4 + lane / 16 * 2 + lane / 8 % 2;
  unsigned char* const place = a.panels + block_y() * cut.panel_bytes +
                               unit / cut.in_group * cut.group_bytes + unit % cut.in_group * kUnitBytes;
  // [4][32], each four columns
  const auto* const quads = reinterpret_cast<const std::uint32_t*>(place) + row;
  constexpr std::uint32_t kSigns = 0x80808080U;
  const Words4 codes{quads[0] ^ kSigns, quads[kInt8PanelRows] ^ kSigns, quads[2 * kInt8PanelRows] ^ kSigns,
                     quads[3 * kInt8PanelRows] ^ kSigns};
  sync_warp();
  reinterpret_cast<Words4*>(place)[lane] = codes;
}

}  // namespace

void arrange_panels(const Int8Panels& arguments, cudaStream_t stream) {
  const Cut cut = cut_of(arguments.columns, arguments.group);
  const int panels = (arguments.rows + kInt8PanelRows - 1) / kInt8PanelRows;
  // As many panels as a grid has rows of blocks.
  constexpr int kMaxPanels = 65'535;
  for (int first = 0; first < panels; first += kMaxPanels) {
    Int8Panels some = arguments;
    some.panels += first * cut.panel_bytes;
    const int count = panels - first < kMaxPanels ? panels - first : kMaxPanels;
    launch(
        arrange_panels_kernel,
        {static_cast<unsigned>((cut.units + kWarps - 1) / kWarps), static_cast<unsigned>(count), kThreads, 0},
        stream, some);
  }
}

}  // namespace wkv::cuda
