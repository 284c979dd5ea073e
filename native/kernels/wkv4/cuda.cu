// A block has 32 channels, one on each lane, and takes eight tokens at a time, a warp each. What tokens add
// to the state one after another is little beside the exponents, which need no more of it than pp. So every
// warp follows the state over all eight, and keeps what its own token finds; the rest it does for that token
// alone.

#include "kernels/wkv4/cuda.h"

#include "kernels/activations/cuda.cuh"
#include "kernels/cuda/launch.cuh"

namespace wkv::cuda {

namespace {

constexpr int kTokens = 8;
constexpr int kThreads = kTokens * kWarp;

struct Shared {
  float k[kTokens][kWarp];
  // The state's e^(pp + w - q') - 1 and e^(k - q') of each token.
  float forget[kTokens][kWarp];
  float current[kTokens][kWarp];
  float v[kTokens][kWarp];
};

// b where either is NaN, as the CPU's max(a, b).
WKV_DEVICE float larger_number(float a, float b) { return a > b ? a : b; }

// One token's numbers of a channel.
struct Inputs {
  float r, k, v;
};

WKV_KERNEL(kThreads) wkv4_kernel(WKV_ARGUMENTS Wkv4Arguments a) {
  begin_next_kernel();
  Shared& shared = shared_memory<Shared>();
  const int lane = thread_index() % kWarp;
  const int own = thread_index() / kWarp;
  const int channel = block_x() * kWarp + lane;
  const bool is_channel = channel < a.channels;
  const Segment segment = a.segments[block_y()];
  float* const state = segment.state + a.state_offset + channel;
  const auto part = [&](int index) -> float& {
    return state[static_cast<std::ptrdiff_t>(index) * a.channels];
  };
  float w = 0;
  float u = 0;
  float aa = 0;
  float bb = 0;
  float pp = 0;
  if (is_channel) {
    w = a.w[channel];
    u = a.u[channel];
    aa = part(0);
    bb = part(1);
    pp = part(2);
  }
  const auto place = [&](int token) {
    return static_cast<std::ptrdiff_t>(segment.first + token) * a.channels + channel;
  };
  const auto load = [&](int token) -> Inputs {
    if (!is_channel || token >= segment.tokens) return {};
    return {a.r[place(token)], a.k[place(token)], a.v[place(token)]};
  };
  await_previous_kernel();
  Inputs next = load(own);

  WKV_KEEP_LOOP
  for (int begin = 0; begin < segment.tokens; begin += kTokens) {
    const Inputs now = next;
    next = load(begin + kTokens + own);
    const int tokens = segment.tokens - begin < kTokens ? segment.tokens - begin : kTokens;
    shared.k[own][lane] = now.k;
    sync_block();
    float own_pp = pp;
    WKV_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      if (t >= tokens) break;
      if (t == own) own_pp = pp;
      pp = larger_number(pp + w, shared.k[t][lane]);
    }
    // The difference first, which is exact where keys are alike (see wkv4.inl.h).
    const float change = (own_pp - now.k) + w;
    shared.forget[own][lane] = 0.0F - one_minus_exp(larger_number(0.0F, 0.0F - change));
    shared.current[own][lane] = exponential(0.0F - larger_number(0.0F, change));
    shared.v[own][lane] = now.v;
    const float with_bonus = u + now.k;
    const float q = larger_number(own_pp, with_bonus);
    const float before = exponential(own_pp - q);
    const float current = exponential(with_bonus - q);
    const float gate = sigmoid(now.r);
    sync_block();  // nobody writes k before all were here, nor these before all are at the next barrier
    float own_aa = aa;
    float own_bb = bb;
    WKV_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      if (t >= tokens) break;
      if (t == own) {
        own_aa = aa;
        own_bb = bb;
      }
      const float forget = shared.forget[t][lane];
      const float of_token = shared.current[t][lane];
      aa = fused(of_token, shared.v[t][lane], fused(forget, aa, aa));
      bb = of_token + fused(forget, bb, bb);
    }
    if (is_channel && own < tokens) {
      const float average = fused(before, own_aa, current * now.v) / fused(before, own_bb, current);
      a.y[place(begin + own)] = gate * average;
    }
  }
  if (is_channel && own == 0) {
    part(0) = aa;
    part(1) = bb;
    part(2) = pp;
  }
}

}  // namespace

void wkv4(const Wkv4Arguments& arguments, cudaStream_t stream) {
  launch(wkv4_kernel,
         {static_cast<unsigned>((arguments.channels + kWarp - 1) / kWarp),
          static_cast<unsigned>(arguments.count), kThreads, sizeof(Shared),
          are_sequences(arguments.tokens, arguments.count)},
         stream, arguments);
}

}  // namespace wkv::cuda
