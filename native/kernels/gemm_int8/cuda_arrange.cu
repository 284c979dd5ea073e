// Each lane of a unit's warp has a row, which it reads before any is written.

#include "kernels/gemm_int8/cuda_arrange.cuh"

namespace wkv::cuda {

namespace {

WKV_KERNEL(kArrangeThreads) arrange_panels_kernel(WKV_ARGUMENTS Int8Panels a) {
  begin_next_kernel();
  await_previous_kernel();
  const Cut cut = cut_of(a.columns, a.group);
  const int unit = block_x() * kArrangeWarps + thread_index() / kWarp;
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
  arrange_by_units(arrange_panels_kernel, arguments, cut_of(arguments.columns, arguments.group), stream);
}

}  // namespace wkv::cuda
