#pragma once

// The products of a single token, by the warps of blocks that stay for all layers.
//
// Which weights a warp multiplies is known from the beginning: those of a phase's panels that its block has,
// and in them every sixteenth group. So it copies them ahead through all phases and layers, while the inputs
// of a phase are still computed and blocks wait for each other: memory is never idle.

#include "kernels/rwkv5_layers/cuda_shared.cuh"

namespace wkv::cuda {

// A warp's way through the weights of all layers, as far as they have been asked for.
template <class Ring>
class LayersWeights {
 public:
  // The panels' places are in shared memory.
  WKV_DEVICE LayersWeights(const LayersLaunch& a, LayersShared<Ring>& shared)
      : a_(a),
        panels_(shared.panels),
        ring_(shared.rings[thread_index() / kWarp]),
        layer_(0),
        phase_(0),
        panel_(block_x()),
        group_(0),
        stage_(0) {
    find();
    for (int i = 0; i < kLayersDepth; ++i) begin(i);
  }

  // Multiplies the next group of the warp with its codes. Returns what it adds to the lane's row, but for the
  // scale of the codes.
  WKV_DEVICE float multiply(const Cut& cut, const Words4* codes) {
    std::int32_t sum = 0;
    float scale = 0;
    WKV_KEEP_LOOP
    for (int unit = 0; unit < cut.in_group; unit += kStageUnits) {
      const LayersStage& stage = ring_.await();
      WKV_UNROLL
      for (int i = 0; i < kStageUnits; ++i) {
        sum = add_products(stage.weights[i][thread_index() % kWarp], codes[unit + i], sum);
      }
      if (unit + kStageUnits == cut.in_group) scale = stage.scales[row_of_lane()];
      begin(ring_.slot());
      ring_.advance();
    }
    return static_cast<float>(sum) * scale;
  }

 private:
  // Begins to copy the next stage, if there is one.
  WKV_DEVICE void begin(int slot) {
    if (layer_ < a_.all.count) {
      const Cut& cut = a_.phases[phase_].cut;
      const bool is_last = (stage_ + 1) * kStageUnits == cut.in_group;
      ring_.copy(slot, group_at_ + stage_ * kStageUnits * kUnitBytes, is_last);
      ++stage_;
      if (is_last) {
        stage_ = 0;
        group_ += kLayersWarps;
        group_at_ += kLayersWarps * cut.group_bytes;
        if (group_ >= cut.groups) {
          panel_ += a_.blocks;
          find();
        }
      }
    }
    ring_.commit();
  }

  // Goes to the warp's first group of the panel or, where there is none, of the next one that has any.
  WKV_DEVICE void find() {
    const int warp = thread_index() / kWarp;
    for (; layer_ < a_.all.count; ++layer_) {
      for (; phase_ < kLayersPhases; ++phase_) {
        const LayersPhase& phase = a_.phases[phase_];
        if (panel_ < phase.panels && warp < phase.cut.groups) {
          const int matrix = a_.matrix_of(phase, panel_);
          group_ = warp;
          group_at_ = panels_[layer_][matrix] + (panel_ - a_.first_panel[matrix]) * phase.cut.panel_bytes +
                      warp * phase.cut.group_bytes;
          return;
        }
        panel_ = block_x();
      }
      phase_ = 0;
    }
  }

  using Panels = const unsigned char* [kMaxLayers][kRwkv5Matrices];

  const LayersLaunch& a_;
  const Panels& panels_;
  Ring ring_;
  int layer_;
  int phase_;
  int panel_;
  int group_;
  int stage_;
  const unsigned char* group_at_ = nullptr;
};

// A phase's products: inputs and what else they need are there, written before a barrier of the grid.
template <class Ring>
WKV_DEVICE void multiply_phase(const LayersLaunch& a, LayersShared<Ring>& shared,
                               LayersWeights<Ring>& weights, int index) {
  const LayersPhase& phase = a.phases[index];
  const Cut& cut = phase.cut;
  const int inputs = phase.end - phase.first;
  const auto x_of = [&](int input) -> const QuantizedTokens& {
    return a.all.products[phase.first + input].x;
  };
  // All loads are on their way before anything waits for one.
  constexpr int kRounds = (kLayersUnits + kLayersThreads - 1) / kLayersThreads;
  Words4 codes[kRounds] = {};
  WKV_UNROLL
  for (int round = 0; round < kRounds; ++round) {
    const int i = round * kLayersThreads + thread_index();
    if (i >= inputs * cut.units) break;
    const int input = i / cut.units;
    codes[round] = *reinterpret_cast<const Words4*>(x_of(input).codes + (i - input * cut.units) * kUnitCodes);
  }
  static_assert(kMaxProducts * kLayersGroups <= kLayersThreads);
  if (thread_index() < inputs * cut.groups) {
    const int input = thread_index() / cut.groups;
    const int group = thread_index() - input * cut.groups;
    const QuantizedTokens& x = x_of(input);
    shared.x_scales[input][group] = x.scales[static_cast<std::ptrdiff_t>(group) * x.stride];
  }
  WKV_UNROLL
  for (int round = 0; round < kRounds; ++round) {
    const int i = round * kLayersThreads + thread_index();
    if (i < inputs * cut.units) shared.codes[i] = codes[round];
  }
  sync_block();  // the inputs are there

  const int warp = thread_index() / kWarp;
  const int lane = thread_index() % kWarp;
  int turn = 0;
  WKV_KEEP_LOOP
  for (int panel = block_x(); panel < phase.panels; panel += a.blocks) {
    const int matrix = a.matrix_of(phase, panel);
    const int input = matrix - phase.first;
    auto& partial = shared.partial[turn % 2];
    const QuantizedProduct& product = a.all.products[matrix];
    const int row = (panel - a.first_panel[matrix]) * kInt8PanelRows + lane;
    // By one of the warps, which loads what it needs for that ahead.
    const bool adds = warp == turn % kLayersWarps;
    const bool stores = adds && row < product.rows;
    const Before before = stores ? before_of(product, row) : Before{};
    for (int group = warp; group < cut.groups; group += kLayersWarps) {
      partial[group][row_of_lane()] =
          weights.multiply(cut, shared.codes + input * cut.units + group * cut.in_group);
    }
    sync_block();  // the panel's sums are there, and those before it have been added
    if (adds) {
      float total = 0;
      WKV_UNROLL_8
      for (int group = 0; group < cut.groups; ++group) {
        total = fused(partial[group][lane], shared.x_scales[input][group], total);
      }
      if (stores) product.output[row] = finished(product.epilogue, total, before);
    }
    ++turn;
  }
}

}  // namespace wkv::cuda
