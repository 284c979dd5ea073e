#pragma once

// A warp's ring of stages in shared memory, into which weights come some stages before they are multiplied:
// in two forms, of which a GPU has to say which is faster.

#include "kernels/cuda/clusters.cuh"
#include "kernels/gemm_int8/cuda_product.cuh"

namespace wkv::cuda {

constexpr int kStageUnits = 2;
constexpr int kLayersDepth = 10;  // stages on their way, of each warp

// A part of a group, as it lies in the GPU's memory.
struct LayersStage {
  Words4 weights[kStageUnits][kWarp];
  float scales[kWarp];  // of the group's rows, in its last stage
};

// The row of a panel that is a lane's row of arranged units.
WKV_DEVICE int row_of_lane() {
  const int lane = thread_index() % kWarp;
  return lane % 8 * 4 + lane / 8;
}

// A lane copies what it reads itself, a row of each unit, and so waits for nobody.
class LaneRing {
 public:
  struct Shared {
    LayersStage stages[kLayersDepth];
  };

  WKV_DEVICE explicit LaneRing(Shared& shared) : stages_(shared.stages), slot_(0) {}

  // Begins to copy a stage to a place that the warp has read, or that is new.
  WKV_DEVICE void copy(int slot, const unsigned char* at, bool with_scales) {
    LayersStage& stage = stages_[slot];
    const int lane = thread_index() % kWarp;
    WKV_UNROLL
    for (int i = 0; i < kStageUnits; ++i) {
      begin_copy(&stage.weights[i][lane], at + i * kUnitBytes + lane * static_cast<int>(sizeof(Words4)));
    }
    if (!with_scales) return;
    const int row = row_of_lane();
    begin_copy(&stage.scales[row], at + kStageUnits * kUnitBytes + row * static_cast<int>(sizeof(float)));
  }
  // After each of them, and as often where nothing is left to copy.
  WKV_DEVICE void commit() { commit_copies(); }

  // The next stage, once it is there.
  WKV_DEVICE const LayersStage& await() {
    wait_copies<kLayersDepth - 1>();
    return stages_[slot_];
  }
  // Its place.
  WKV_DEVICE int slot() const { return slot_; }
  WKV_DEVICE void advance() { slot_ = slot_ + 1 == kLayersDepth ? 0 : slot_ + 1; }

 private:
  LayersStage (&stages_)[kLayersDepth];
  int slot_;
};

// The copy engine copies a whole stage, and arrives at its barrier. A barrier of the grid waits for what its
// threads did before, and these copies are none of that. From compute capability 9.0 on.
class BulkRing {
 public:
  struct Shared {
    LayersStage stages[kLayersDepth];
    Barrier there[kLayersDepth];
  };

  WKV_DEVICE explicit BulkRing(Shared& shared) : shared_(shared), turn_(0) {
    if (thread_index() % kWarp != 0) return;
    for (Barrier& barrier : shared.there) init_barrier(barrier, 1);
    show_barriers();
  }

  WKV_DEVICE void copy(int slot, const unsigned char* at, bool with_scales) {
    sync_warp();  // all of it have read the place, and see the barriers
    if (thread_index() % kWarp != 0) return;
    const int bytes = kStageUnits * kUnitBytes + (with_scales ? kScalesBytes : 0);
    arrive_expecting(shared_.there[slot], bytes);
    begin_bulk_copy(shared_.stages[slot].weights[0], at, bytes, shared_.there[slot]);
  }
  WKV_DEVICE void commit() {}

  WKV_DEVICE const LayersStage& await() {
    wait_barrier(shared_.there[slot()], turn_ >= kLayersDepth ? 1 : 0);
    return shared_.stages[slot()];
  }
  WKV_DEVICE int slot() const { return turn_ >= kLayersDepth ? turn_ - kLayersDepth : turn_; }
  WKV_DEVICE void advance() { turn_ = turn_ + 1 == 2 * kLayersDepth ? 0 : turn_ + 1; }

 private:
  Shared& shared_;
  int turn_;  // of two through the ring: a barrier's phases have parities by turns
};

}  // namespace wkv::cuda
