#pragma once

// Every instruction that kernels use and the harness emulates, on random operands: the same source for the
// GPU and for the simulated one, whose outputs must be equal bit by bit.

#include <cstdint>

namespace wkv::gpu_check {

constexpr int kInputWords = 16;   // of a lane
constexpr int kOutputWords = 68;  // of a lane
constexpr int kLaneCount = 32;

// What the words of a lane's output are.
enum Output : int {
  kProduct = 0,   // four sums of multiply_add
  kShuffled = 4,  // by the masks 1, 2, 4, 8, 16
  kFused = 9,
  kQuotient = 10,
  kRoot = 11,
  kTimes = 12,
  kPlus = 13,
  kNearest = 14,
  kFromF16 = 15,
  kExponential = 16,
  kSigmoid = 17,
  kFromInteger = 18,
  kCopied = 19,  // four words that came through shared memory
  kWarpSum = 23,
  kRows = 24,  // four words of load_rows()
  // Sums of multiply_wide() for 64 tokens, of four cases together, where there is such an instruction; else
  // 0.
  kWide = 28,
  kToF16 = 60,
  kDotProduct = 61,    // add_products
  kCopiedNumber = 62,  // one that came through shared memory
  kUnitProduct = 63,   // four products of multiply_unit
  kSelected = 67,      // select_bytes
};
constexpr int kWideSums = 32;
constexpr int kWideCases = 4;

}  // namespace wkv::gpu_check

extern "C" {
// `input` is [cases][32 lanes][kInputWords], `output` [cases][32 lanes][kOutputWords], cases a multiple of
// kWideCases. Returns 0, or an error of the runtime.
using WkvRunInstructions = std::int32_t (*)(const std::uint32_t* input, std::uint32_t* output,
                                            std::int32_t cases);
#define WKV_RUN_INSTRUCTIONS "wkv_run_instructions"
// Whether it uses products by warpgroups.
using WkvHasWideProducts = std::int32_t (*)();
#define WKV_HAS_WIDE_PRODUCTS "wkv_has_wide_products"
// Has a kernel be used from here on, or no longer, that nothing uses otherwise.
enum WkvCandidate : std::int32_t {
  WKV_CLUSTERS,      // products of prompts by clusters of blocks
  WKV_LAYERS_LANES,  // all layers of a single token in one kernel, for which lanes copy weights ahead
  WKV_LAYERS_BULK,   // for which the copy engine does
};
using WkvUse = void (*)(WkvCandidate candidate, std::int32_t use);
#define WKV_USE "wkv_use"
// Whether the GPU has what it needs.
using WkvCanUse = std::int32_t (*)(WkvCandidate candidate);
#define WKV_CAN_USE "wkv_can_use"
// How often it has been launched, or put into a graph.
using WkvLaunches = std::int32_t (*)(WkvCandidate candidate);
#define WKV_LAUNCHES "wkv_launches"
}
