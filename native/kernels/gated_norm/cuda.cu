// With heads of 64 and groups of up to 256 columns, a warp for each span of each token, all in registers.
// Otherwise a warp for each group, which computes the norms of all heads that the group has columns of.

#include "kernels/gated_norm/cuda.cuh"

#include "kernels/cuda/launch.cuh"
#include "kernels/quantize/cuda.cuh"

namespace wkv::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

template <Gate kGate, bool kBonus, bool kWhole>
WKV_KERNEL(kThreads)
gated_norm_fast_kernel(WKV_ARGUMENTS GatedNormArguments a) {
  begin_next_kernel();
  const int size = a.out.columns;
  const int span = block_x() * kWarps + thread_index() / kWarp;
  if (span * kSpan >= size) return;
  const Part weight = load_part<kWhole>(a.norm.weight, span, size);
  const Part bias = load_part<kWhole>(a.norm.bias, span, size);
  const Part scales = load_scales<kWhole>(a.input_scales, span, size);
  await_previous_kernel();
  const int token = block_y();
  const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(token) * size;
  const Part y = load_part<kWhole>(a.y + at, span, size);
  const Part g = kGate == Gate::kNone ? Part{} : load_part<kWhole>(a.g + at, span, size);
  const Part v = kBonus ? load_part<kWhole>(a.v + at, span, size) : Part{};
  Part values;
  WKV_UNROLL
  for (int quad = 0; quad < kSpanQuads; ++quad) {
    const Moments head = moments_of_fast_head(y.of + 4 * quad, a.epsilon);
    const int column = part_column(span, quad);
    const float bonus =
        kBonus && (kWhole || column < size) ? a.bonus[(at + column) / kGatedNormFastSize] : 0.0F;
    WKV_UNROLL
    for (int i = 4 * quad; i < 4 * quad + 4; ++i) {
      float value = normal(y.of[i], head, weight.of[i], bias.of[i]);
      if constexpr (kBonus) value = fused(bonus, v.of[i], value);
      values.of[i] = gated(kGate, value, g.of[i]) * scales.of[i];
    }
  }
  quantize_span<kWhole>(a.out, token, span, values);
}

// The sum of a head whose 32 neighbours `row` are load(row) on the warp's lanes, in the order of
// layer_norm.h.
template <class Load>
WKV_DEVICE float sum_head(int rows, Load load) {
  const int lane = thread_index() % kWarp;
  float own = 0;
  for (int row = 0; row < rows; ++row) {
    const float sum = warp_sum(load(row));
    own = row == lane ? sum : own;
  }
  return warp_sum(own);
}

// By a warp. A head has no more channels than a norm has lanes.
WKV_DEVICE Moments moments_of_head(const float* y, int size, float epsilon) {
  const int lane = thread_index() % kWarp;
  const int rows = (size + kWarp - 1) / kWarp;
  const auto count = static_cast<float>(size);
  const auto at = [&](int row) { return row * kWarp + lane; };
  const float sum = sum_head(rows, [&](int row) { return at(row) < size ? 0.0F + y[at(row)] : 0.0F; });
  const float mean = sum / count;
  const float squares = sum_head(
      rows, [&](int row) { return at(row) < size ? square_of_distance(y[at(row)], mean, 0) : 0.0F; });
  return moments(mean, squares, count, epsilon);
}

WKV_KERNEL(kThreads) gated_norm_kernel(WKV_ARGUMENTS GatedNormArguments a) {
  begin_next_kernel();
  await_previous_kernel();
  const int index = block_x() * kWarps + thread_index() / kWarp;
  if (index >= groups_of(a.out)) return;
  const int token = block_y();
  const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(token) * a.out.columns;
  const float* const y = a.y + at;
  float* const g = a.g + at;
  const int begin = index * a.out.group;
  const int end = begin + a.out.group < a.out.columns ? begin + a.out.group : a.out.columns;
  for (int head = begin / a.head_size * a.head_size; head < end; head += a.head_size) {
    const Moments of_head = moments_of_head(y + head, a.head_size, a.epsilon);
    const float bonus =
        a.bonus == nullptr ? 0.0F : a.bonus[token * (a.out.columns / a.head_size) + head / a.head_size];
    const int head_end = head + a.head_size < end ? head + a.head_size : end;
    // The group's columns are dealt to the lanes as quantize_group will read them.
    const int lane_first = begin + thread_index() % kWarp;
    const int skipped = head > lane_first ? (head - lane_first + kWarp - 1) / kWarp * kWarp : 0;
    for (int column = lane_first + skipped; column < head_end; column += kWarp) {
      float value = normal(y[column], of_head, a.norm.weight[column], a.norm.bias[column]);
      if (a.bonus != nullptr) value = fused(bonus, a.v[at + column], value);
      value = gated(a.gate, value, g[column]);
      g[column] = a.input_scales == nullptr ? value : value * a.input_scales[column];
    }
  }
  quantize_group(a.out, token, index, [&](int column) { return g[column]; });
}

using Kernel = void (*)(GatedNormArguments);

template <Gate kGate>
Kernel fast_kernel(bool bonus, bool whole) {
  if (whole)
    return bonus ? gated_norm_fast_kernel<kGate, true, true> : gated_norm_fast_kernel<kGate, false, true>;
  return bonus ? gated_norm_fast_kernel<kGate, true, false> : gated_norm_fast_kernel<kGate, false, false>;
}

Kernel fast_kernel(const GatedNormArguments& a) {
  const bool bonus = a.bonus != nullptr;
  const bool whole =
      are_whole_spans(a.out.columns, {a.y, a.g, a.v, a.norm.weight, a.norm.bias, a.input_scales});
  switch (a.gate) {
    case Gate::kNone:
      return fast_kernel<Gate::kNone>(bonus, whole);
    case Gate::kPlain:
      return fast_kernel<Gate::kPlain>(bonus, whole);
    case Gate::kSilu:
      break;
  }
  return fast_kernel<Gate::kSilu>(bonus, whole);
}

}  // namespace

void gated_norm(const GatedNormArguments& arguments, cudaStream_t stream) {
  const int columns = arguments.out.columns;
  const int group = arguments.out.group;
  const bool fast = arguments.head_size == kGatedNormFastSize && is_part_of_span(group);
  const int of_warp = fast ? kSpan : group;
  const int warps = (columns + of_warp - 1) / of_warp;
  launch(fast ? fast_kernel(arguments) : gated_norm_kernel,
         {static_cast<unsigned>((warps + kWarps - 1) / kWarps), static_cast<unsigned>(arguments.tokens),
          kThreads, 0},
         stream, arguments);
}

}  // namespace wkv::cuda
