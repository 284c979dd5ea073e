// Blocks that stay for all layers, one on each processor, and wait for each other between the phases of a
// layer. Kernels one after another leave memory idle where one ends and the next begins, nine times a layer;
// here weights are on their way all the time (cuda_products.cuh).
//
// Between products little is computed, by few blocks, and what they need that does not come from the phase
// before they load before they wait for it.

#include "kernels/rwkv5_layers/cuda.h"

#include <mutex>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/whole_grid.cuh"
#include "kernels/gated_norm/cuda.cuh"
#include "kernels/layer_norm/cuda.cuh"
#include "kernels/quantize/cuda.cuh"
#include "kernels/rwkv5_layers/cuda_products.cuh"
#include "kernels/token_shift/cuda.cuh"
#include "kernels/wkv5/cuda.cuh"

namespace wkv::cuda {

namespace {

LayersKind used_kind = LayersKind::kNone;
std::mutex mutex;  // guards what follows
int launches = 0;

// Of what blocks do by spans of 256 columns, this one's; the last blocks have fewer panels than others.
WKV_DEVICE int span_of_block(const LayersLaunch& a) { return a.blocks - 1 - block_x(); }
WKV_DEVICE bool has_span(const LayersLaunch& a, int columns) { return span_of_block(a) * kSpan < columns; }

// The norm of x, shifted, mixed and quantized for the matrices of a phase. A block has a span, and each of
// its first warps a matrix.
class Shift {
 public:
  WKV_DEVICE Shift(const LayersLaunch& a, const Rwkv5LayerWeights& layer, int phase, const Norm& norm,
                   float* state)
      : a_(a), matrix_(a.phases[phase].first + thread_index() / kWarp), state_(state) {
    const int columns = columns_of(phase);
    mixes_ = has_span(a_, columns) && matrix_ < a.phases[phase].end;
    if (!mixes_) return;
    const int span = span_of_block(a_);
    weight_ = load_part<true>(norm.weight, span, columns);
    bias_ = load_part<true>(norm.bias, span, columns);
    before_ = load_part<true>(state, span, columns);
    mix_ = load_part<true>(layer.mixes[matrix_], span, columns);
    scales_ = load_scales<true>(layer.input_scales[matrix_], span, columns);
  }

  // After a barrier of the grid.
  WKV_DEVICE void put(int phase, NormSums (&sums)[2]) const {
    const int columns = columns_of(phase);
    if (!has_span(a_, columns)) return;
    const float* const x = a_.all.products[kAttOutput].output;
    sum_rows(x, nullptr, columns, sums);
    if (!mixes_) return;
    const int span = span_of_block(a_);
    const Part now = normal(load_part<true>(x, span, columns), moments_of(sums[0], columns), weight_, bias_);
    Part values;
    WKV_UNROLL
    for (int i = 0; i < kPartNumbers; ++i) {
      values.of[i] = mixed(now.of[i], before_.of[i], mix_.of[i], false) * scales_.of[i];
    }
    quantize_span<true>(a_.all.products[matrix_].x, 0, span, values);
    // All of them have the state: sum_rows() has barriers.
    if (thread_index() < kWarp) store_part(state_, span, columns, now);
  }

 private:
  WKV_DEVICE int columns_of(int phase) const { return a_.all.products[a_.phases[phase].first].x.columns; }

  const LayersLaunch& a_;
  int matrix_;
  float* state_;
  bool mixes_;
  Part weight_ = {}, bias_ = {}, before_ = {}, mix_ = {}, scales_ = {};
};

// The recurrence, its group norm, the gate and quantization. A block has four heads, a warp a run of keys of
// one of them, a lane two of its value channels.
class Recurrence {
 public:
  WKV_DEVICE Recurrence(const LayersLaunch& a, const Rwkv5LayerWeights& layer, float* state,
                        LayersHeads& heads)
      : a_(a), heads_(heads), state_(nullptr) {
    const int columns = attention();
    if (!has_span(a_, columns)) return;
    const int warp = thread_index() / kWarp;
    const int span = span_of_block(a);
    const int channel = span * kSpan + warp / kWkv5Runs * kWkv5FastSize + run() * kWkv5RunKeys;
    state_ = state + static_cast<std::ptrdiff_t>(channel) * kWkv5FastSize + thread_index() % kWarp;
    WKV_UNROLL
    for (int i = 0; i < kWkv5RunKeys; ++i) {
      WKV_UNROLL
      for (int c = 0; c < kHeadColumns; ++c) s_[i][c] = state_[i * kWkv5FastSize + c * kWarp];
    }
    if (thread_index() < kSpan) {
      heads_.forget[thread_index()] = layer.forget[span * kSpan + thread_index()];
      heads_.u[thread_index()] = layer.u[span * kSpan + thread_index()];
    }
    if (warp != 0) return;
    weight_ = load_part<true>(layer.ln_x.weight, span, columns);
    bias_ = load_part<true>(layer.ln_x.bias, span, columns);
    scales_ = load_scales<true>(layer.input_scales[kAttOutput], span, columns);
  }

  // After a barrier of the grid.
  WKV_DEVICE void put() {
    if (!has_span(a_, attention())) return;
    const bool norms = thread_index() < kWarp;
    const Part g =
        norms ? load_part<true>(a_.all.products[kAttGate].output, span_of_block(a_), attention()) : Part{};
    if (thread_index() < kSpan) {
      const int channel = span_of_block(a_) * kSpan + thread_index();
      heads_.r[thread_index()] = a_.all.products[kAttReceptance].output[channel];
      heads_.k[thread_index()] = a_.all.products[kAttKey].output[channel];
      heads_.v[thread_index()] = a_.all.products[kAttValue].output[channel];
    }
    sync_block();  // the heads are there
    take_token();
    sync_block();  // the sums are there
    if (norms) put_gated_norm(g);
  }

  // Nobody waits for it in this launch.
  WKV_DEVICE void store_state() const {
    if (!has_span(a_, attention())) return;
    WKV_UNROLL
    for (int i = 0; i < kWkv5RunKeys; ++i) {
      WKV_UNROLL
      for (int c = 0; c < kHeadColumns; ++c) state_[i * kWkv5FastSize + c * kWarp] = s_[i][c];
    }
  }

 private:
  WKV_DEVICE int attention() const { return a_.all.products[kAttReceptance].rows; }
  WKV_DEVICE static int run() { return thread_index() / kWarp % kWkv5Runs; }

  WKV_DEVICE void take_token() {
    const int head = thread_index() / kWarp / kWkv5Runs;
    const int lane = thread_index() % kWarp;
    const int first = head * kWkv5FastSize;
    if (run() == 0) {
      float sum = 0;
      WKV_UNROLL
      for (int part = 0; part < kWkv5FastSize / kWkv5Lanes; ++part) {
        const int i = first + part * kWkv5Lanes + lane % kWkv5Lanes;
        sum = fused(heads_.r[i] * heads_.u[i], heads_.k[i], sum);
      }
      const float bonus = bonus_of_lanes(sum);
      if (lane == 0) heads_.bonus[head] = bonus;
    }
    float sums[kHeadColumns] = {};
    WKV_UNROLL
    for (int i = 0; i < kWkv5RunKeys; ++i) {
      const int key = first + run() * kWkv5RunKeys + i;
      const float r = heads_.r[key];
      const float k = heads_.k[key];
      const float forget = -heads_.forget[key];
      WKV_UNROLL
      for (int c = 0; c < kHeadColumns; ++c) {
        sums[c] = fused(r, s_[i][c], sums[c]);
        s_[i][c] = fused(k, heads_.v[first + c * kWarp + lane], fused(forget, s_[i][c], s_[i][c]));
      }
    }
    WKV_UNROLL
    for (int c = 0; c < kHeadColumns; ++c) heads_.sums[head][run()][c * kWarp + lane] = sums[c];
  }

  // By a warp.
  WKV_DEVICE void put_gated_norm(const Part& g) const {
    Part values;
    WKV_UNROLL
    for (int quad = 0; quad < kSpanQuads; ++quad) {
      float y[4];
      WKV_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int channel = part_column(0, quad) + i;
        const int head = channel / kWkv5FastSize;
        const auto& q = heads_.sums[head];
        const int column = channel % kWkv5FastSize;
        const float sum = (q[0][column] + q[1][column]) + (q[2][column] + q[3][column]);
        y[i] = fused(heads_.v[channel], heads_.bonus[head], sum);
      }
      const Moments head = moments_of_fast_head(y, a_.all.group_norm_epsilon);
      WKV_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int of = 4 * quad + i;
        const float value = normal(y[i], head, weight_.of[of], bias_.of[of]);
        values.of[of] = gated(Gate::kSilu, value, g.of[of]) * scales_.of[of];
      }
    }
    quantize_span<true>(a_.all.products[kAttOutput].x, 0, span_of_block(a_), values);
  }

  const LayersLaunch& a_;
  LayersHeads& heads_;
  float* state_;
  float s_[kWkv5RunKeys][kHeadColumns] = {};
  Part weight_ = {}, bias_ = {}, scales_ = {};
};

// Quantization of channel mixing's own channels. Each warp of the grid has a span at most.
class Hidden {
 public:
  WKV_DEVICE Hidden(const LayersLaunch& a, const Rwkv5LayerWeights& layer)
      : a_(a), span_(thread_index() / kWarp * a.blocks + span_of_block(a)) {
    if (is_there()) scales_ = load_scales<true>(layer.input_scales[kFfnValue], span_, out().columns);
  }

  // After a barrier of the grid.
  WKV_DEVICE void put() const {
    if (!is_there()) return;
    const Part hidden = load_part<true>(a_.all.products[kFfnKey].output, span_, out().columns);
    quantize_span<true>(out(), 0, span_, times(hidden, scales_));
  }

 private:
  WKV_DEVICE const QuantizedTokens& out() const { return a_.all.products[kFfnValue].x; }
  WKV_DEVICE bool is_there() const { return span_ * kSpan < out().columns; }

  const LayersLaunch& a_;
  int span_;
  Part scales_ = {};
};

template <class Ring>
WKV_DEVICE void compute_layers(const LayersLaunch& a) {
  auto& shared = shared_memory<LayersShared<Ring>>();
  for (int i = thread_index(); i < a.all.count * kRwkv5Matrices; i += kLayersThreads) {
    const int layer = i / kRwkv5Matrices;
    const int matrix = i % kRwkv5Matrices;
    shared.panels[layer][matrix] = a.all.layers[layer].panels[matrix];
  }
  sync_block();  // the panels' places are there
  WholeGrid grid(a.all.arrived);
  LayersWeights<Ring> weights(a, shared);
  const int channels = a.all.products[kAttOutput].rows;
  WKV_KEEP_LOOP
  for (int index = 0; index < a.all.count; ++index) {
    const Rwkv5LayerWeights& layer = a.all.layers[index];
    float* state = a.all.segment->state + index * a.all.layer_numbers;
    {
      grid.arrive();
      const Shift shift(a, layer, 0, layer.ln1, state);
      grid.wait();  // x is there, that of the layer before
      shift.put(0, shared.sums);
    }
    grid.sync();  // the inputs of r, k, v and g are there
    multiply_phase(a, shared, weights, 0);
    {
      grid.arrive();
      Recurrence recurrence(a, layer, state + 2 * channels, shared.heads);
      grid.wait();  // r, k, v and g are there
      recurrence.put();
      grid.arrive();
      recurrence.store_state();
      grid.wait();  // the output's input is there
    }
    multiply_phase(a, shared, weights, 1);
    {
      grid.arrive();
      const Shift shift(a, layer, 2, layer.ln2, state + channels);
      grid.wait();  // x is there
      shift.put(2, shared.sums);
    }
    grid.sync();  // the inputs of channel mixing are there
    multiply_phase(a, shared, weights, 2);
    {
      grid.arrive();
      const Hidden hidden(a, layer);
      grid.wait();  // the hidden channels are there
      hidden.put();
    }
    grid.sync();  // their codes are there
    multiply_phase(a, shared, weights, 3);
  }
}

// Older GPUs have not the shared memory.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr bool kMayHaveRoom = false;
#else
constexpr bool kMayHaveRoom = true;
#endif

template <class Ring>
WKV_KERNEL(kLayersThreads, 1)
rwkv5_layers_kernel(WKV_ARGUMENTS LayersLaunch a) {
  if (kMayHaveRoom) compute_layers<Ring>(a);
}

int ceil_div(int value, int step) { return (value + step - 1) / step; }

using LayersKernelFunction = void (*)(LayersLaunch);

struct Form {
  LayersKernelFunction kernel;
  Grid grid;
};

template <class Ring>
Form form_with() {
  // A block for each processor.
  Form form{rwkv5_layers_kernel<Ring>,
            {static_cast<unsigned>(processor_count()), 1, kLayersThreads, sizeof(LayersShared<Ring>)}};
  form.grid.together = true;
  return form;
}

Form form_of(LayersKind kind) {
  return kind == LayersKind::kBulk ? form_with<BulkRing>() : form_with<LaneRing>();
}

// The products that there are between two barriers, and what is the same for all of them.
LayersLaunch launch_of(const QuantizedProduct (&products)[kRwkv5Matrices]) {
  LayersLaunch launch{};
  launch.blocks = processor_count();
  constexpr int kFirst[kLayersPhases + 1] = {kAttReceptance, kAttOutput, kFfnKey, kFfnValue, kRwkv5Matrices};
  for (int i = 0; i < kLayersPhases; ++i) {
    LayersPhase& phase = launch.phases[i];
    phase = {kFirst[i], kFirst[i + 1], 0, cut_of(products[kFirst[i]].x.columns, products[kFirst[i]].x.group)};
    for (int matrix = phase.first; matrix < phase.end; ++matrix) {
      launch.first_panel[matrix] = phase.panels;
      phase.panels += ceil_div(products[matrix].rows, kInt8PanelRows);
    }
  }
  return launch;
}

}  // namespace

bool has_rwkv5_layers(LayersKind kind) {
  if (kind == LayersKind::kNone || (kind == LayersKind::kBulk && !has_bulk_copies())) return false;
  const Form form = form_of(kind);
  return fits_together(form.kernel, form.grid);
}

bool suits_rwkv5_layers(LayersKind kind, const QuantizedProduct (&products)[kRwkv5Matrices], int layers) {
  if (!has_rwkv5_layers(kind) || layers > kMaxLayers) return false;
  const LayersLaunch launch = launch_of(products);
  for (const LayersPhase& phase : launch.phases) {
    if (phase.cut.groups > kLayersGroups) return false;
    if ((phase.end - phase.first) * phase.cut.units > kLayersUnits) return false;
    for (int matrix = phase.first; matrix < phase.end; ++matrix) {
      const QuantizedTokens& x = products[matrix].x;
      if (x.columns % kSpan != 0 || !is_part_of_span(x.group) ||
          x.group % (kStageUnits * kUnitColumns) != 0 || x.group != products[phase.first].x.group ||
          x.columns != products[phase.first].x.columns) {
        return false;
      }
      // A block has a span at most; of channel mixing's own channels each of its warps.
      const int warps = matrix == kFfnValue ? kLayersWarps : 1;
      if (x.columns > launch.blocks * warps * kSpan) return false;
    }
  }
  return true;
}

void rwkv5_layers(LayersKind kind, const Rwkv5LayersArguments& arguments, cudaStream_t stream) {
  LayersLaunch all = launch_of(arguments.products);
  all.all = arguments;
  const Form form = form_of(kind);
  launch(form.kernel, form.grid, stream, all);
  const std::lock_guard lock{mutex};
  ++launches;
}

void use_rwkv5_layers(LayersKind kind) { used_kind = kind; }
LayersKind used_rwkv5_layers() { return used_kind; }
int rwkv5_layers_launches() {
  const std::lock_guard lock{mutex};
  return launches;
}

}  // namespace wkv::cuda
