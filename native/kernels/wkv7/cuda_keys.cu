// Half a warp for each head of each token. Heads of 64 are read once, and stay in registers.

#include "kernels/cuda/launch.cuh"
#include "kernels/wkv7/cuda.cuh"
#include "kernels/wkv7/cuda.h"

namespace wkv::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kRows = kThreads / kLanes;  // of a block; a row is a head of a token

// Of one channel.
struct KeyWeights {
  float k_k;
  float k_a;
  float r_k;
};
struct Key {
  float k;
  float rate;
  float r;
};
WKV_DEVICE KeyWeights load_key_weights(const Wkv7KeysArguments& a, std::ptrdiff_t at) {
  return {a.k_k[at], a.k_a[at], a.r_k[at]};
}
WKV_DEVICE Key load_key(const Wkv7KeysArguments& a, std::ptrdiff_t at) { return {a.k[at], a.a[at], a.r[at]}; }

WKV_DEVICE float add_square(const Key& key, const KeyWeights& weights, float sum) {
  const float part = key.k * weights.k_k;
  return fused(part, part, sum);
}
WKV_DEVICE float scale_of_keys(float squares) {
  const float length = root(sum_over_lanes(squares));
  return 1.0F / (length > 1e-12F ? length : 1e-12F);
}
WKV_DEVICE float new_key(const Key& key, const KeyWeights& weights) {
  return fused(key.k, (key.rate - 1.0F) * weights.k_a, key.k);
}
WKV_DEVICE float add_bonus(const Key& key, const KeyWeights& weights, float sum) {
  return fused(key.r * new_key(key, weights), weights.r_k, sum);
}
WKV_DEVICE void put_key(const Wkv7KeysArguments& a, std::ptrdiff_t at, const Key& key,
                        const KeyWeights& weights, float scale) {
  const float kappa = key.k * weights.k_k * scale;
  a.kappa[at] = kappa;
  a.b[at] = kappa * key.rate;
  a.k[at] = new_key(key, weights);
}

WKV_DEVICE int row_of_lane() { return block_x() * kRows + thread_index() / kLanes; }

WKV_KERNEL(kThreads) wkv7_keys_fast_kernel(WKV_ARGUMENTS Wkv7KeysArguments a) {
  begin_next_kernel();
  const int row = row_of_lane();
  // Whole warps take part, also where there is no row for them.
  const bool is_row = row < a.tokens * a.heads;
  const auto place = [](int index, int part) {
    return static_cast<std::ptrdiff_t>(index) * kFastSize + part * kLanes + lane_of_sum();
  };
  KeyWeights weights[kParts];
  WKV_UNROLL
  for (int part = 0; part < kParts; ++part) weights[part] = load_key_weights(a, place(row % a.heads, part));
  await_previous_kernel();
  Key keys[kParts] = {};
  float squares = 0;
  float bonus = 0;
  WKV_UNROLL
  for (int part = 0; part < kParts; ++part) {
    if (is_row) keys[part] = load_key(a, place(row, part));
    squares = add_square(keys[part], weights[part], squares);
    bonus = add_bonus(keys[part], weights[part], bonus);
  }
  const float scale = scale_of_keys(squares);
  bonus = sum_over_lanes(bonus);
  if (!is_row) return;
  WKV_UNROLL
  for (int part = 0; part < kParts; ++part) put_key(a, place(row, part), keys[part], weights[part], scale);
  if (lane_of_sum() == 0) a.bonus[row] = bonus;
}

WKV_KERNEL(kThreads) wkv7_keys_kernel(WKV_ARGUMENTS Wkv7KeysArguments a) {
  begin_next_kernel();
  await_previous_kernel();
  const int row = row_of_lane();
  const bool is_row = row < a.tokens * a.heads;
  const int size = a.head_size;
  const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(row) * size;
  const std::ptrdiff_t weights_at = static_cast<std::ptrdiff_t>(row % a.heads) * size;
  float squares = 0;
  float bonus = 0;
  for (int i = lane_of_sum(); i < padded(size); i += kLanes) {
    Key key = {};
    KeyWeights weights = {};
    if (is_row && i < size) {
      key = load_key(a, at + i);
      weights = load_key_weights(a, weights_at + i);
    }
    squares = add_square(key, weights, squares);
    bonus = add_bonus(key, weights, bonus);
  }
  const float scale = scale_of_keys(squares);
  bonus = sum_over_lanes(bonus);
  if (!is_row) return;
  for (int i = lane_of_sum(); i < size; i += kLanes) {
    put_key(a, at + i, load_key(a, at + i), load_key_weights(a, weights_at + i), scale);
  }
  if (lane_of_sum() == 0) a.bonus[row] = bonus;
}

}  // namespace

void wkv7_keys(const Wkv7KeysArguments& arguments, cudaStream_t stream) {
  const int rows = arguments.tokens * arguments.heads;
  launch(arguments.head_size == kFastSize ? wkv7_keys_fast_kernel : wkv7_keys_kernel,
         {static_cast<unsigned>((rows + kRows - 1) / kRows), 1, kThreads, 0}, stream, arguments);
}

}  // namespace wkv::cuda
