#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "backend/cpu/cpu_features.h"
#include "kernels/wkv7/cuda.h"
#include "test/cuda/recurrence.h"

using wkv::cuda::Segment;
using wkv::test::Floats;
using wkv::test::OnDevice;
using wkv::test::Recurrence;

namespace {

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
    forget = wkv::test::random_floats(random, numbers, 0, 0.5F);
    // No longer than 1, as the state would grow without end.
    const float most = 1 / std::sqrt(static_cast<float>(head_size));
    kappa = wkv::test::random_floats(random, numbers, -most, most);
    b = wkv::test::random_floats(random, numbers, 0, 1);
    for (std::size_t i = 0; i < numbers; ++i) b[i] *= kappa[i];
    for (std::size_t s = 0; s < counts.size(); ++s) {
      states.push_back(
          wkv::test::random_floats(random, kOffset + channels * static_cast<std::size_t>(head_size)));
    }
  }

  int heads, head_size, tokens = 0;
  std::vector<int> counts;  // of each segment
  Floats r, forget, k, v, kappa, b;
  std::vector<Floats> states;
};

// Each segment's tokens in pieces of at most so many.
Recurrence run(const Case& c, int piece = 1 << 20) {
  OnDevice<float> r(c.r);
  OnDevice<float> forget(c.forget);
  OnDevice<float> k(c.k);
  OnDevice<float> v(c.v);
  OnDevice<float> kappa(c.kappa);
  OnDevice<float> b(c.b);
  return wkv::test::run_in_pieces(c.counts, c.states, c.r.size(), piece,
                                  [&](const Segment* segments, int count, int tokens, float* y) {
                                    wkv::cuda::wkv7({.r = r.data(),
                                                     .forget = forget.data(),
                                                     .k = k.data(),
                                                     .v = v.data(),
                                                     .kappa = kappa.data(),
                                                     .b = b.data(),
                                                     .y = y,
                                                     .segments = segments,
                                                     .state_offset = kOffset,
                                                     .count = count,
                                                     .tokens = tokens,
                                                     .heads = c.heads,
                                                     .head_size = c.head_size},
                                                    nullptr);
                                  });
}

// By the CPU's kernel, on a thread that flushes denormals.
Recurrence expected(const Case& c) {
  Recurrence result{Floats(c.r.size()), c.states};
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(c.heads) * c.head_size;
  wkv::test::on_engine_thread([&] {
    std::ptrdiff_t first = 0;
    for (std::size_t s = 0; s < c.counts.size(); ++s) {
      for (int head = 0; head < c.heads; ++head) {
        const std::ptrdiff_t channel = static_cast<std::ptrdiff_t>(head) * c.head_size;
        const std::ptrdiff_t at = first * stride + channel;
        wkv::selected_kernels().wkv7({.r = c.r.data() + at,
                                      .forget = c.forget.data() + at,
                                      .k = c.k.data() + at,
                                      .v = c.v.data() + at,
                                      .kappa = c.kappa.data() + at,
                                      .b = c.b.data() + at,
                                      .state = result.states[s].data() + kOffset + channel * c.head_size,
                                      .y = result.y.data() + at,
                                      .stride = stride,
                                      .tokens = c.counts[s],
                                      .head_size = c.head_size});
      }
      first += c.counts[s];
    }
  });
  return result;
}

struct KeysCase {
  KeysCase(std::mt19937& random, int head_count, int size, int token_count)
      : heads(head_count), head_size(size), tokens(token_count) {
    const auto channels = static_cast<std::size_t>(heads * head_size);
    const auto numbers = channels * static_cast<std::size_t>(tokens);
    r = wkv::test::random_floats(random, numbers);
    k = wkv::test::random_floats(random, numbers, -4, 4);
    a = wkv::test::random_floats(random, numbers, 0, 1);
    k_k = wkv::test::random_floats(random, channels, 0.5F, 1.5F);
    k_a = wkv::test::random_floats(random, channels, 0, 2);
    r_k = wkv::test::random_floats(random, channels);
  }

  int heads, head_size, tokens;
  Floats r, k, a, k_k, k_a, r_k;
};

struct Keys {
  Floats k, kappa, b, bonus;
};

std::string difference(const Keys& actual, const Keys& expected) {
  return wkv::test::bit_difference(actual.k, expected.k) +
         wkv::test::bit_difference(actual.kappa, expected.kappa) +
         wkv::test::bit_difference(actual.b, expected.b) +
         wkv::test::bit_difference(actual.bonus, expected.bonus);
}

Keys run(const KeysCase& c) {
  OnDevice<float> r(c.r);
  OnDevice<float> k(c.k);
  OnDevice<float> a(c.a);
  OnDevice<float> k_k(c.k_k);
  OnDevice<float> k_a(c.k_a);
  OnDevice<float> r_k(c.r_k);
  OnDevice<float> kappa(c.k.size());
  OnDevice<float> b(c.k.size());
  OnDevice<float> bonus(static_cast<std::size_t>(c.tokens * c.heads));
  wkv::cuda::wkv7_keys({.r = r.data(),
                        .k = k.data(),
                        .a = a.data(),
                        .k_k = k_k.data(),
                        .k_a = k_a.data(),
                        .r_k = r_k.data(),
                        .kappa = kappa.data(),
                        .b = b.data(),
                        .bonus = bonus.data(),
                        .tokens = c.tokens,
                        .heads = c.heads,
                        .head_size = c.head_size},
                       nullptr);
  return {k.values(), kappa.values(), b.values(), bonus.values()};
}

// By the CPU's kernels. What the values would be multiplied with is what becomes of a value of 1, from -0.
Keys expected(const KeysCase& c) {
  Keys keys{c.k, Floats(c.k.size()), Floats(c.k.size()), {}};
  wkv::test::on_engine_thread([&] {
    const Floats ones(static_cast<std::size_t>(c.head_size), 1.0F);
    for (int row = 0; row < c.tokens * c.heads; ++row) {
      const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(row) * c.head_size;
      const std::ptrdiff_t channel = static_cast<std::ptrdiff_t>(row % c.heads) * c.head_size;
      wkv::selected_kernels().wkv7_keys({.k = keys.k.data() + at,
                                         .a = c.a.data() + at,
                                         .k_k = c.k_k.data() + channel,
                                         .k_a = c.k_a.data() + channel,
                                         .kappa = keys.kappa.data() + at,
                                         .b = keys.b.data() + at,
                                         .head_size = c.head_size});
      Floats y(ones.size(), -0.0F);
      wkv::selected_kernels().wkv7_bonus({.y = y.data(),
                                          .r = c.r.data() + at,
                                          .k = keys.k.data() + at,
                                          .v = ones.data(),
                                          .r_k = c.r_k.data() + channel,
                                          .head_size = c.head_size});
      keys.bonus.push_back(y[0]);
    }
  });
  return keys;
}

constexpr std::pair<int, int> kForms[] = {{2, 64}, {3, 12}, {2, 80}, {1, 300}, {3, 5}, {4, 1}, {2, 128}};

}  // namespace

TEST_SUITE("CUDA wkv7") {
  TEST_CASE("has the bits of the CPU's kernel, for heads and runs of tokens of any size") {
    std::mt19937 random(1);
    for (const auto& [heads, head_size] : kForms) {
      INFO(heads, " heads of ", head_size);
      // One chunk of the fast form has 8 tokens.
      const Case c(random, heads, head_size,
                   head_size == 64 ? std::vector<int>{1, 5, 8, 9, 16, 17, 40} : std::vector<int>{1, 5, 2});
      const Recurrence cpu = expected(c);
      CHECK(std::all_of(cpu.y.begin(), cpu.y.end(), [](float y) { return std::abs(y) < 1000; }));
      wkv::test::in_every_order([&](const std::string& order) {
        CAPTURE(order);
        CHECK(difference(run(c), cpu) == "");
      });
    }
  }

  TEST_CASE("other heads too go through long runs of tokens") {
    std::mt19937 random(5);
    for (const int head_size : {5, 24}) {
      const Case c(random, 2, head_size, {16, 17, 40});
      CHECK(difference(run(c), expected(c)) == "");
    }
  }

  TEST_CASE("a state that only decays ends at 0, as on the CPU's threads, which flush denormals") {
    std::mt19937 random(4);
    for (const int head_size : {64, 20}) {
      Case c(random, 1, head_size, {60});
      std::fill(c.k.begin(), c.k.end(), 0.0F);
      std::fill(c.b.begin(), c.b.end(), 0.0F);
      std::fill(c.forget.begin(), c.forget.end(), 0.3F);
      // 0.7^60 of them is at most 5e-10 of what it was, here below the smallest normal number.
      for (float& number : c.states[0]) number *= 1e-30F;
      const Recurrence cpu = expected(c);
      CHECK(std::count(cpu.states[0].begin() + kOffset, cpu.states[0].end(), 0.0F) ==
            std::ptrdiff_t{head_size} * head_size);
      CHECK(difference(run(c), cpu) == "");
    }
  }

  TEST_CASE("zeros of either sign, infinity and NaN come out as on the CPU, also beyond a head") {
    std::mt19937 random(6);
    const float infinity = std::numeric_limits<float>::infinity();
    for (const int head_size : {64, 20}) {
      const auto channels = static_cast<std::size_t>(head_size);
      Case zeros(random, 1, head_size, {1});
      std::fill(zeros.v.begin(), zeros.v.end(), -0.0F);
      std::fill(zeros.states[0].begin(), zeros.states[0].end(), -0.0F);
      std::fill(zeros.forget.begin(), zeros.forget.end(), 0.0F);
      CHECK(difference(run(zeros), expected(zeros)) == "");
      // Products below the smallest number leave sums of -0.
      Case small(random, 1, head_size, {2});
      std::fill(small.kappa.begin(), small.kappa.end(), -1e-30F);
      std::fill(small.r.begin(), small.r.end(), -1e-30F);
      std::fill(small.b.begin(), small.b.end(), 0.0F);
      std::fill(small.k.begin(), small.k.end(), 0.0F);
      std::fill(small.states[0].begin(), small.states[0].end(), 1e-20F);
      CHECK(difference(run(small), expected(small)) == "");
      for (const float bad : {infinity, -infinity, std::nanf("")}) {
        Case c(random, 1, head_size, {4});
        // Infinities of one sign, that only zeros beyond the head make NaN.
        for (float& k : c.k) k = std::abs(k);
        for (float& r : c.r) r = std::abs(r);
        c.v[channels + 3] = bad;
        const Recurrence cpu = expected(c);
        CHECK(std::isnan(cpu.y[channels + 3]) == (std::isnan(bad) || head_size % 16 != 0));
        CHECK(difference(run(c), cpu) == "");
        Case in_key(random, 1, head_size, {4});
        in_key.kappa[channels + 2] = bad;
        CHECK(difference(run(in_key), expected(in_key)) == "");
      }
    }
  }

  TEST_CASE("tokens in pieces, and beside other segments, have the same bits") {
    std::mt19937 random(2);
    for (const int head_size : {64, 24}) {
      const Case c(random, 2, head_size, {4, 19});
      const Recurrence whole = run(c);
      for (const int piece : {1, 3, 17}) CHECK(difference(run(c, piece), whole) == "");
      Case alone = c;
      const auto begin = static_cast<std::ptrdiff_t>(4) * 2 * head_size;
      for (Floats* values : {&alone.r, &alone.forget, &alone.k, &alone.v, &alone.kappa, &alone.b}) {
        values->erase(values->begin(), values->begin() + begin);
      }
      alone.counts = {19};
      alone.states = {c.states[1]};
      const Recurrence one = run(alone);
      CHECK(wkv::test::bit_difference(one.y, std::span(whole.y).subspan(static_cast<std::size_t>(begin))) ==
            "");
      CHECK(wkv::test::bit_difference(one.states[0], whole.states[1]) == "");
    }
  }

  TEST_CASE("keys have the bits of the CPU's kernels, for heads of any size and any number of them") {
    std::mt19937 random(3);
    for (const auto& [heads, head_size] : kForms) {
      for (const int tokens : {1, 5, 17}) {
        INFO(heads, " heads of ", head_size, ", tokens: ", tokens);
        const KeysCase c(random, heads, head_size, tokens);
        const Keys cpu = expected(c);
        wkv::test::in_every_order([&](const std::string& order) {
          CAPTURE(order);
          CHECK(difference(run(c), cpu) == "");
        });
      }
    }
  }

  TEST_CASE("keys that are 0, or shorter than 1e-12, or not finite") {
    std::mt19937 random(7);
    for (const int head_size : {64, 20, 80}) {
      KeysCase c(random, 7, head_size, 1);
      const auto head = [&](std::ptrdiff_t index) { return c.k.begin() + index * head_size; };
      std::fill(head(0), head(1), 0.0F);
      std::fill(head(1), head(2), -0.0F);
      std::for_each(head(2), head(3), [](float& k) { k *= 1e-14F; });
      std::for_each(head(3), head(4), [](float& k) { k *= 1e-25F; });  // their squares are flushed
      *head(4) = std::numeric_limits<float>::infinity();
      *head(5) = std::nanf("");
      // A bonus that is -0, or made 0 by what is beyond the head.
      for (auto i = head(6); i != head(7); ++i) {
        const auto at = static_cast<std::size_t>(i - c.k.begin());
        *i = 1e-15F;
        c.a[at] = 1;
        c.r[at] = -1e-15F;
        c.r_k[at] = 1e-20F;
      }
      const Keys cpu = expected(c);
      CHECK(cpu.kappa[0] == 0.0F);
      CHECK(std::signbit(cpu.bonus[6]) == (head_size % 16 == 0));
      CHECK(difference(run(c), cpu) == "");
    }
  }
}
