// Each lane of a unit's warp has read what it needs before any is written.

#include "kernels/gemm_int4/cuda_weights.cuh"
#include "kernels/gemm_int8/cuda_arrange.cuh"

namespace wkv::cuda {

namespace {

constexpr std::uint32_t kHalves = 0x0f0f0f0fU;

// The codes of the columns 4 quad to 4 quad + 3 in a row, each in the low half of a byte. Two quads of
// columns share words: [2][32].
WKV_DEVICE std::uint32_t codes_of(const std::uint32_t* unit, int row, int quad) {
  return unit[quad / 2 * kInt8PanelRows + row] >> (quad % 2 == 0 ? 0U : 4U) & kHalves;
}

// Of bytes that have half bytes of two units for a row each: those of the first four rows and first unit,
// then those of the second.
WKV_DEVICE std::uint32_t apart(std::uint32_t both) {
  const auto closed = [](std::uint32_t halves) {
    const std::uint32_t pairs = halves | halves >> 4U;
    return (pairs & 0xffU) | (pairs >> 8U & 0xff00U);
  };
  return closed(both & kHalves) | closed(both >> 4U & kHalves) << 16U;
}

WKV_KERNEL(kArrangeThreads) arrange_int4_panels_kernel(WKV_ARGUMENTS Int4Panels a) {
  begin_next_kernel();
  await_previous_kernel();
  const Cut cut = int4_cut_of(a.columns, a.group);
  const int unit = block_x() * kArrangeWarps + thread_index() / kWarp;
  if (unit >= cut.units) return;
  const int lane = thread_index() % kWarp;
  unsigned char* const panel = a.panels + block_y() * cut.panel_bytes;
  auto* const codes =
      reinterpret_cast<std::uint32_t*>(panel + static_cast<std::ptrdiff_t>(unit) * kInt4UnitBytes);
  const auto word = [&](int which) {
    const int row = lane / 4 * 4 + which;
    // With 8 added they are signed but for the highest bit of each.
    return (codes_of(codes, row, lane % 4) | codes_of(codes, row + 2, lane % 4) << 4U) ^ 0x88888888U;
  };
  const Words2 words{word(0), word(1)};
  sync_warp();
  reinterpret_cast<Words2*>(codes)[lane] = words;
  if (unit % 2 == 0 && lane < kMultiplierWords) {
    auto* const multipliers = reinterpret_cast<std::uint32_t*>(panel + int4_multipliers_offset(cut)) +
                              static_cast<std::ptrdiff_t>(unit / 2) * kMultiplierWords + lane;
    *multipliers = apart(*multipliers);
  }
}

}  // namespace

void arrange_panels(const Int4Panels& arguments, cudaStream_t stream) {
  arrange_by_units(arrange_int4_panels_kernel, arguments, int4_cut_of(arguments.columns, arguments.group),
                   stream);
}

}  // namespace wkv::cuda
