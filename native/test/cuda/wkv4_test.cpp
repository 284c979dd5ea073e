#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "backend/cpu/cpu_features.h"
#include "kernels/wkv4/cuda.h"
#include "test/cuda/recurrence.h"

using wkv::cuda::Segment;
using wkv::test::Floats;
using wkv::test::OnDevice;
using wkv::test::Recurrence;

namespace {

constexpr int kOffset = 12;  // of the recurrence in a state
constexpr float kNothingYet = -1e30F;

struct Case {
  // The first half of the sessions are new.
  Case(std::mt19937& random, int channel_count, std::vector<int> token_counts)
      : channels(channel_count), counts(std::move(token_counts)) {
    int tokens = 0;
    for (const int count : counts) tokens += count;
    const auto size = static_cast<std::size_t>(channels);
    const auto numbers = size * static_cast<std::size_t>(tokens);
    r = wkv::test::random_floats(random, numbers, -4, 4);
    // Keys differ so much that one token may outweigh all others.
    k = wkv::test::random_floats(random, numbers, -20, 20);
    v = wkv::test::random_floats(random, numbers);
    w = wkv::test::random_floats(random, size, -8, 0);
    for (std::size_t i = 0; i < size; i += 3) w[i] *= 1e-4F;
    u = wkv::test::random_floats(random, size, -3, 3);
    for (std::size_t s = 0; s < counts.size(); ++s) {
      Floats state = wkv::test::random_floats(random, kOffset + 3 * size + 7, 0.1F, 9);
      if (s < (counts.size() + 1) / 2) {
        const auto begin = state.begin() + kOffset;
        std::fill_n(begin, 2 * size, 0.0F);
        std::fill_n(begin + 2 * static_cast<std::ptrdiff_t>(size), size, kNothingYet);
      }
      states.push_back(std::move(state));
    }
  }

  int channels;
  std::vector<int> counts;  // of each segment
  Floats r, k, v, w, u;
  std::vector<Floats> states;
};

// Each segment's tokens in pieces of at most so many.
Recurrence run(const Case& c, int piece = 1 << 20) {
  OnDevice<float> r(c.r);
  OnDevice<float> k(c.k);
  OnDevice<float> v(c.v);
  OnDevice<float> w(c.w);
  OnDevice<float> u(c.u);
  return wkv::test::run_in_pieces(c.counts, c.states, c.r.size(), piece,
                                  [&](const Segment* segments, int count, int tokens, float* y) {
                                    wkv::cuda::wkv4({.r = r.data(),
                                                     .k = k.data(),
                                                     .v = v.data(),
                                                     .y = y,
                                                     .w = w.data(),
                                                     .u = u.data(),
                                                     .segments = segments,
                                                     .state_offset = kOffset,
                                                     .count = count,
                                                     .tokens = tokens,
                                                     .channels = c.channels},
                                                    nullptr);
                                  });
}

// By the CPU's kernel.
Recurrence expected(const Case& c) {
  Recurrence result{Floats(c.r.size()), c.states};
  wkv::test::on_engine_thread([&] {
    std::ptrdiff_t at = 0;
    for (std::size_t s = 0; s < c.counts.size(); ++s) {
      float* const state = result.states[s].data() + kOffset;
      wkv::selected_kernels().wkv4({.r = c.r.data() + at,
                                    .k = c.k.data() + at,
                                    .v = c.v.data() + at,
                                    .w = c.w.data(),
                                    .u = c.u.data(),
                                    .aa = state,
                                    .bb = state + c.channels,
                                    .pp = state + std::ptrdiff_t{2} * c.channels,
                                    .y = result.y.data() + at,
                                    .stride = c.channels,
                                    .tokens = c.counts[s],
                                    .size = c.channels});
      at += std::ptrdiff_t{c.counts[s]} * c.channels;
    }
  });
  return result;
}

}  // namespace

TEST_SUITE("CUDA wkv4") {
  TEST_CASE("has the bits of the CPU's kernel, for any number of channels and runs of tokens of any length") {
    std::mt19937 random(1);
    for (const int channels : {1, 5, 31, 64, 100, 300}) {
      CAPTURE(channels);
      // A block takes eight tokens at a time.
      const Case c(random, channels, {1, 8, 25, 3, 9, 40});
      const Recurrence cpu = expected(c);
      wkv::test::in_every_order([&](const std::string& order) {
        CAPTURE(order);
        CHECK(difference(run(c), cpu) == "");
      });
    }
  }

  TEST_CASE("tokens in pieces, and beside other segments, have the same bits") {
    std::mt19937 random(2);
    const Case c(random, 37, {21, 4, 19});
    const Recurrence whole = run(c);
    for (const int piece : {1, 3, 8, 17}) {
      CAPTURE(piece);
      CHECK(difference(run(c, piece), whole) == "");
    }
    Case alone = c;
    const auto begin = static_cast<std::ptrdiff_t>(21 + 4) * c.channels;
    for (Floats* values : {&alone.r, &alone.k, &alone.v}) {
      values->erase(values->begin(), values->begin() + begin);
    }
    alone.counts = {19};
    alone.states = {c.states[2]};
    CHECK(difference(run(alone), {Floats(whole.y.begin() + begin, whole.y.end()), {whole.states[2]}}) == "");
  }

  TEST_CASE("keys of any size, and numbers that are none, do as on the CPU") {
    std::mt19937 random(3);
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    Case c(random, 40, {12, 30});
    for (std::size_t i = 0; i < c.k.size(); ++i) c.k[i] = i % 7 == 0 ? 1e30F : i % 3 == 0 ? -1e30F : 300;
    CHECK(difference(run(c), expected(c)) == "");
    for (std::size_t i = 0; i < c.k.size(); i += 97) c.k[i] = i % 2 == 0 ? kInfinity : -kInfinity;
    for (std::size_t i = 50; i < c.k.size(); i += 199) c.v[i] = std::nanf("");
    for (std::size_t i = 90; i < c.k.size(); i += 211) c.r[i] = std::nanf("");
    // Only of the last token: what follows a key of NaN is not the same on every processor.
    for (std::size_t i = c.k.size() - 40; i < c.k.size(); i += 3) c.k[i] = std::nanf("");
    const Recurrence cpu = expected(c);
    CHECK(std::isnan(cpu.states[1][kOffset + 2 * 40]));
    CHECK(difference(run(c), cpu) == "");
  }

  TEST_CASE("what is long past ends at 0, as on the CPU's threads, which flush denormals") {
    std::mt19937 random(4);
    Case c(random, 33, {40});
    std::fill(c.v.begin(), c.v.end(), 0.0F);
    std::fill(c.k.begin(), c.k.end(), -5.0F);
    std::fill(c.w.begin(), c.w.end(), -0.9F);
    const auto aa = c.states[0].begin() + kOffset;
    std::fill_n(aa, 33, 1e-30F);
    std::fill_n(aa + 33, 33, 1.0F);
    std::fill_n(aa + 66, 33, -5.0F);
    const Recurrence cpu = expected(c);
    // 0.4^40 of it is 2e-16 of what it was.
    CHECK(std::count(cpu.states[0].begin() + kOffset, cpu.states[0].begin() + kOffset + 33, 0.0F) == 33);
    CHECK(difference(run(c), cpu) == "");
  }
}
