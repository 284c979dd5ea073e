// A block for each head of each segment, a thread for each value channel. With heads of 64 channels a thread
// keeps its column of the state in registers; a warp reads and writes whole rows of it. Other sizes leave the
// state in memory.

#include "kernels/wkv5/cuda.h"

#include "kernels/activations/cuda.cuh"

namespace wkv::cuda {

namespace {

constexpr int kFastHeadSize = 64;
constexpr int kMostThreads = 256;
// On a processor, with heads of 64: 128 registers for each thread, half of them its column of the state.
[[maybe_unused]] constexpr int kBlocks = 8;

static_assert(5 * kMostHeadSize * sizeof(float) <= kMostSharedBytes);

// What a token needs of its head, in shared memory.
struct Head {
  float* r;
  float* k;
  float* forget;
  float* u;
  float* y;
};

// r[0] u[0] k[0] + r[1] u[1] k[1] + ...: what the bonus adds to y[j] is v[j] times this. Each warp computes
// it for itself.
WKV_DEVICE float bonus_of(const Head& head, int size) {
  float sum = 0;
  for (int i = thread_index() % kWarp; i < size; i += kWarp) {
    sum = fused(head.r[i] * head.u[i], head.k[i], sum);
  }
  return warp_sum(sum);
}

// Mean and 1 / deviation of y, computed by each warp for itself.
struct Moments {
  float mean;
  float scale;
};
WKV_DEVICE Moments moments_of(const float* y, int size, float epsilon) {
  const auto count = static_cast<float>(size);
  float sum = 0;
  for (int i = thread_index() % kWarp; i < size; i += kWarp) sum += y[i];
  const float mean = warp_sum(sum) / count;
  float squares = 0;
  for (int i = thread_index() % kWarp; i < size; i += kWarp) {
    const float distance = y[i] - mean;
    squares = fused(distance, distance, squares);
  }
  return {mean, 1.0F / root(warp_sum(squares) / count + epsilon)};
}

// One value channel of one token. state(i) is its number for the key channel i. Whole warps of a head of
// kSize meet now and then: it keeps the compiler from fetching a whole token at once, for which there are no
// registers.
template <int kSize, class StateAt>
WKV_DEVICE float advance(const Head& head, int size, float value, float bonus, StateAt state) {
  constexpr int kRun = 16;
  float sum = value * bonus;
  WKV_UNROLL
  for (int i = 0; i < size; ++i) {
    if (kSize != 0 && i % kRun == 0) sync_warp();
    float& s = state(i);
    sum = fused(head.r[i], s, sum);
    s = fused(head.k[i], value, fused(-head.forget[i], s, s));
  }
  return sum;
}

// kSize: of a head, or 0 for what the arguments say.
template <int kSize>
WKV_KERNEL(kSize == 0 ? kMostThreads : kSize, kSize == 0 ? 1 : kBlocks)
wkv5_kernel(WKV_ARGUMENTS Wkv5Arguments a) {
  const int size = kSize == 0 ? a.head_size : kSize;
  float* const shared = shared_array<float>();
  const Head head{shared, shared + size, shared + 2 * size, shared + 3 * size, shared + 4 * size};
  const int channels = a.heads * size;
  const int channel = block_x() * size;
  const Segment segment = a.segments[block_y()];
  float* const state = segment.state + a.state_offset + static_cast<std::ptrdiff_t>(channel) * size;

  for (int i = thread_index(); i < size; i += block_threads()) {
    head.forget[i] = a.forget[channel + i];
    head.u[i] = a.u[channel + i];
  }
  float column[static_cast<std::size_t>(kSize == 0 ? 1 : kSize)];
  if constexpr (kSize != 0) {
    WKV_UNROLL
    for (int i = 0; i < kSize; ++i) column[i] = state[i * kSize + thread_index()];
  }

  for (int token = 0; token < segment.tokens; ++token) {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(segment.first + token) * channels + channel;
    for (int i = thread_index(); i < size; i += block_threads()) {
      head.r[i] = a.r[at + i];
      head.k[i] = a.k[at + i];
    }
    sync_block();
    const float bonus = bonus_of(head, size);
    for (int j = thread_index(); j < size; j += block_threads()) {
      const float value = a.v[at + j];
      if constexpr (kSize != 0) {
        head.y[j] = advance<kSize>(head, kSize, value, bonus, [&](int i) -> float& { return column[i]; });
      } else {
        head.y[j] = advance<0>(head, size, value, bonus, [&](int i) -> float& {
          return state[static_cast<std::ptrdiff_t>(i) * size + j];
        });
      }
    }
    sync_block();  // from here on r and k are free for the next token; y is until the next barrier
    const Moments moments = moments_of(head.y, size, a.epsilon);
    for (int j = thread_index(); j < size; j += block_threads()) {
      const float normal = (head.y[j] - moments.mean) * moments.scale;
      const float gate = a.g[at + j];
      a.y[at + j] =
          fused(normal, a.norm.weight[channel + j], a.norm.bias[channel + j]) * (gate * sigmoid(gate));
    }
  }
  if constexpr (kSize != 0) {
    WKV_UNROLL
    for (int i = 0; i < kSize; ++i) state[i * kSize + thread_index()] = column[i];
  }
}

}  // namespace

void wkv5(const Wkv5Arguments& arguments, cudaStream_t stream) {
  const int size = arguments.head_size;
  const int threads = size < kMostThreads ? (size + kWarp - 1) / kWarp * kWarp : kMostThreads;
  const Grid grid{static_cast<unsigned>(arguments.heads), static_cast<unsigned>(arguments.count),
                  static_cast<unsigned>(threads), 5 * static_cast<std::size_t>(size) * sizeof(float)};
  if (size == kFastHeadSize) {
    launch(wkv5_kernel<kFastHeadSize>, grid, stream, arguments);
  } else {
    launch(wkv5_kernel<0>, grid, stream, arguments);
  }
}

}  // namespace wkv::cuda
