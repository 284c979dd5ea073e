#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "kernels/activations/activations.h"
#include "kernels/kernel_table.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/wkv5/cuda.h"
#include "test/cuda/on_device.h"
#include "test/support/numbers.h"

using wkv::cuda::Segment;
using wkv::test::Floats;
using wkv::test::OnDevice;

namespace {

constexpr float kEpsilon = 64e-5F;
constexpr int kOffset = 12;  // of the recurrence in a state

struct Case {
  Case(std::mt19937& random, int head_count, int size, std::vector<int> token_counts)
      : heads(head_count), head_size(size), counts(std::move(token_counts)) {
    for (const int count : counts) tokens += count;
    const auto channels = static_cast<std::size_t>(heads * head_size);
    const auto numbers = channels * static_cast<std::size_t>(tokens);
    r = wkv::test::random_floats(random, numbers);
    k = wkv::test::random_floats(random, numbers);
    v = wkv::test::random_floats(random, numbers);
    g = wkv::test::random_floats(random, numbers, -4, 4);
    forget = wkv::test::random_floats(random, channels, 0, 1);
    for (std::size_t i = 0; i < channels; i += 3) forget[i] *= 1e-4F;
    u = wkv::test::random_floats(random, channels);
    weight = wkv::test::random_floats(random, channels, 0.5F, 2);
    bias = wkv::test::random_floats(random, channels);
    for (std::size_t s = 0; s < counts.size(); ++s) {
      states.push_back(
          wkv::test::random_floats(random, kOffset + channels * static_cast<std::size_t>(head_size)));
    }
  }

  int heads, head_size, tokens = 0;
  std::vector<int> counts;  // of each segment
  Floats r, k, v, g, forget, u, weight, bias;
  std::vector<Floats> states;
};

struct Result {
  Floats y;
  std::vector<Floats> states;
};

// Each segment's tokens in pieces of at most so many.
Result run(const Case& c, int piece = 1 << 20) {
  OnDevice<float> r(c.r);
  OnDevice<float> k(c.k);
  OnDevice<float> v(c.v);
  OnDevice<float> g(c.g);
  OnDevice<float> y(c.r.size());
  OnDevice<float> forget(c.forget);
  OnDevice<float> u(c.u);
  OnDevice<float> weight(c.weight);
  OnDevice<float> bias(c.bias);
  std::vector<std::unique_ptr<OnDevice<float>>> states;
  for (const Floats& state : c.states) states.push_back(std::make_unique<OnDevice<float>>(state));
  for (int done = 0;; done += piece) {
    std::vector<Segment> pieces;
    int first = 0;
    for (std::size_t s = 0; s < c.counts.size(); ++s) {
      const int left = std::min(c.counts[s] - done, piece);
      if (left > 0) pieces.push_back({states[s]->data(), first + done, left});
      first += c.counts[s];
    }
    if (pieces.empty()) break;
    OnDevice<Segment> segments(pieces);
    wkv::cuda::wkv5({.r = r.data(),
                     .k = k.data(),
                     .v = v.data(),
                     .g = g.data(),
                     .y = y.data(),
                     .forget = forget.data(),
                     .u = u.data(),
                     .norm = {weight.data(), bias.data()},
                     .epsilon = kEpsilon,
                     .segments = segments.data(),
                     .state_offset = kOffset,
                     .count = static_cast<int>(pieces.size()),
                     .heads = c.heads,
                     .head_size = c.head_size},
                    nullptr);
  }
  Result result{y.values(), {}};
  for (const auto& state : states) result.states.push_back(state->values());
  return result;
}

// The naive forms one after another; of the recurrence the portable one gives the states, to the bit.
struct Expected {
  Result result;
  Floats tolerance;  // of y
};

Expected expected(const Case& c) {
  Expected e{{Floats(c.r.size()), c.states}, Floats(c.r.size())};
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(c.heads) * c.head_size;
  std::ptrdiff_t first = 0;
  for (std::size_t s = 0; s < c.counts.size(); ++s) {
    for (int head = 0; head < c.heads; ++head) {
      const std::ptrdiff_t channel = static_cast<std::ptrdiff_t>(head) * c.head_size;
      const std::ptrdiff_t at = first * stride + channel;
      wkv::Wkv5Arguments a{.r = c.r.data() + at,
                           .k = c.k.data() + at,
                           .v = c.v.data() + at,
                           .forget = c.forget.data() + channel,
                           .u = c.u.data() + channel,
                           .state = e.result.states[s].data() + kOffset + channel * c.head_size,
                           .y = e.result.y.data() + at,
                           .stride = stride,
                           .forget_stride = 0,
                           .tokens = c.counts[s],
                           .head_size = c.head_size};
      Floats naive_state(a.state, a.state + static_cast<std::ptrdiff_t>(c.head_size) * c.head_size);
      wkv::portable_kernels().wkv5(a);
      a.state = naive_state.data();
      wkv::reference::wkv5(a);
      for (int t = 0; t < c.counts[s]; ++t) {
        float* const y = a.y + t * stride;
        double mean = 0;
        double variance = 0;
        for (int j = 0; j < c.head_size; ++j) mean += static_cast<double>(y[j]) / c.head_size;
        for (int j = 0; j < c.head_size; ++j) {
          variance += (static_cast<double>(y[j]) - mean) * (static_cast<double>(y[j]) - mean) / c.head_size;
        }
        const double deviation = std::sqrt(variance + static_cast<double>(kEpsilon));
        wkv::reference::layer_norm(y, c.weight.data() + channel, c.bias.data() + channel, kEpsilon,
                                   c.head_size, y);
        wkv::reference::multiply_silu(y, c.g.data() + at + t * stride, c.head_size);
        for (int j = 0; j < c.head_size; ++j) {
          // An output of the recurrence adds up head_size + 3 terms, and states of a few times as many
          // roundings as there were tokens; with all magnitudes up to 1, none is beyond
          // head_size * (2 + tokens). The norm divides by the deviation, weight and gate are up to 8.
          const double terms = c.head_size + 3.0 * (t + 1) + 8;
          const double largest = c.head_size * (2.0 + t);
          const std::ptrdiff_t place = at + t * stride + j;
          e.tolerance[static_cast<std::size_t>(place)] =
              static_cast<float>(8 * (terms * largest / deviation + 16) * wkv::test::kRounding);
        }
      }
    }
    first += c.counts[s];
  }
  return e;
}

}  // namespace

TEST_SUITE("CUDA wkv5") {
  TEST_CASE("agrees with the naive forms, and its states with the CPU's to the bit") {
    std::mt19937 random(1);
    for (const std::pair<int, int>& form : {std::pair{2, 64}, {3, 12}, {2, 80}, {1, 300}}) {
      const int heads = form.first;
      const int head_size = form.second;
      INFO(heads, " heads of ", head_size);
      const Case c(random, heads, head_size, {1, 5, 2});
      const Expected e = expected(c);
      wkv::test::in_every_order([&](const std::string& order) {
        CAPTURE(order);
        const Result result = run(c);
        CHECK(wkv::test::beyond(result.y, e.result.y,
                                [&](std::size_t i) { return static_cast<double>(e.tolerance[i]); }) == "");
        for (std::size_t s = 0; s < c.counts.size(); ++s) {
          CHECK(wkv::test::bit_difference(result.states[s], e.result.states[s]) == "");
        }
      });
    }
  }

  TEST_CASE("tokens in pieces, and beside other segments, have the same bits") {
    std::mt19937 random(2);
    for (const int head_size : {64, 24}) {
      const Case c(random, 2, head_size, {4, 7});
      const Result whole = run(c);
      for (const int piece : {1, 3}) {
        const Result parts = run(c, piece);
        CHECK(wkv::test::bit_difference(parts.y, whole.y) == "");
        CHECK(wkv::test::bit_difference(parts.states[1], whole.states[1]) == "");
      }
      Case alone = c;
      const auto begin = static_cast<std::ptrdiff_t>(4) * 2 * head_size;
      for (Floats* values : {&alone.r, &alone.k, &alone.v, &alone.g}) {
        values->erase(values->begin(), values->begin() + begin);
      }
      alone.counts = {7};
      alone.states = {c.states[1]};
      const Result one = run(alone);
      CHECK(wkv::test::bit_difference(one.y, std::span(whole.y).subspan(static_cast<std::size_t>(begin))) ==
            "");
      CHECK(wkv::test::bit_difference(one.states[0], whole.states[1]) == "");
    }
  }
}
