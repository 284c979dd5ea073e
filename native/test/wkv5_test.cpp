#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "test/support/recurrence.h"

using wkv::test::Floats;
using wkv::test::Guarded;

namespace {

constexpr int kHeadSizes[] = {2, 5, 8, 10, 16, 32, 64, 80, 128};

// One head over some tokens.
struct Case {
  // With a decay of its own for each token (RWKV-6), or one for all.
  Case(std::mt19937& random, int head, int count, bool varying = false)
      : head_size(head),
        shape{static_cast<std::size_t>(head), count},
        forget_stride(varying ? shape.stride() + 2 : 0) {
    const std::size_t n = shape.channels;
    r = wkv::test::random_floats(random, shape.numbers());
    k = wkv::test::random_floats(random, shape.numbers());
    v = wkv::test::random_floats(random, shape.numbers());
    forget = wkv::test::random_floats(random, forget_stride * static_cast<std::size_t>(count - 1) + n, 0, 1);
    // Some channels hardly forget, as in real models; some forget everything.
    for (std::size_t i = 0; i < forget.size(); i += 3) forget[i] *= 1e-4F;
    forget.back() = 1;
    u = wkv::test::random_floats(random, n);
    state = wkv::test::random_floats(random, n * n);
  }

  int head_size;
  wkv::test::RunShape shape;
  std::size_t forget_stride;
  Floats r, k, v, forget, u, state;
};

struct Result {
  Floats y, state;
};

// Runs the tokens in pieces of these lengths.
Result run(wkv::Wkv5 kernel, const Case& c, const std::vector<int>& pieces) {
  Guarded<float> r(c.r);
  Guarded<float> k(c.k);
  Guarded<float> v(c.v);
  Guarded<float> forget(c.forget);
  Guarded<float> u(c.u);
  Guarded<float> state(c.state);
  const Floats all = c.shape.in_pieces(pieces, [&](std::size_t at, int tokens, float* y) {
    kernel({.r = r.data() + at,
            .k = k.data() + at,
            .v = v.data() + at,
            .forget = forget.data() + at / c.shape.stride() * c.forget_stride,
            .u = u.data(),
            .state = state.data(),
            .y = y,
            .stride = static_cast<std::ptrdiff_t>(c.shape.stride()),
            .forget_stride = static_cast<std::ptrdiff_t>(c.forget_stride),
            .tokens = tokens,
            .head_size = c.head_size});
  });
  CHECK(state.intact());
  return {all, state.copy()};
}

Result run(wkv::Wkv5 kernel, const Case& c) { return run(kernel, c, {c.shape.tokens}); }

Floats magnitudes(Floats values) {
  for (float& value : values) value = std::abs(value);
  return values;
}

}  // namespace

TEST_SUITE("wkv5") {
  TEST_CASE(
      "agrees with its naive form at every head size and length, and on every instruction set to the bit") {
    std::mt19937 random(1);
    for (const int head_size : kHeadSizes) {
      for (const int tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 127, 128}) {
        CAPTURE(head_size);
        CAPTURE(tokens);
        const Case c(random, head_size, tokens, tokens % 2 == 0);
        const Result expected = run(wkv::reference::wkv5, c);
        const Result portable = run(wkv::portable_kernels().wkv5, c);
        // The same recurrence over magnitudes bounds every partial sum. A step rounds a number of the state
        // twice (the naive form once), an output adds head_size + 10 roundings of its own.
        Case absolute = c;
        for (Floats* values : {&absolute.r, &absolute.k, &absolute.v, &absolute.u, &absolute.state}) {
          *values = magnitudes(*values);
        }
        const Result bound = run(wkv::reference::wkv5, absolute);
        const double steps = 3.0 * tokens * wkv::test::kRounding;
        const double own = (head_size + 10) * wkv::test::kRounding;
        CHECK(wkv::test::beyond(portable.state, expected.state, [&](std::size_t i) {
                return steps * static_cast<double>(bound.state[i]);
              }) == "");
        CHECK(wkv::test::beyond(portable.y, expected.y, [&](std::size_t i) {
                return (steps + own) * static_cast<double>(bound.y[i]);
              }) == "");
        for (const wkv::KernelTable* table : wkv::available_kernels()) {
          CAPTURE(table->name);
          const Result result = run(table->wkv5, c);
          CHECK(wkv::test::bit_difference(result.y, portable.y) == "");
          CHECK(wkv::test::bit_difference(result.state, portable.state) == "");
        }
      }
    }
  }

  TEST_CASE("sums in the order that wkv5.h says") {
    std::mt19937 random(5);
    for (const int head_size : kHeadSizes) {
      CAPTURE(head_size);
      const Case c(random, head_size, 1);
      const auto size = static_cast<std::size_t>(head_size);
      float lanes[16] = {};
      for (std::size_t i = 0; i < size; ++i) lanes[i % 16] = std::fma(c.r[i] * c.u[i], c.k[i], lanes[i % 16]);
      for (std::size_t width = 8; width > 0; width /= 2) {
        for (std::size_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
      }
      const std::size_t keys = (size + 3) / 4;
      Floats y;
      for (std::size_t j = 0; j < size; ++j) {
        float q[4] = {};
        for (std::size_t i = 0; i < size; ++i)
          q[i / keys] = std::fma(c.r[i], c.state[i * size + j], q[i / keys]);
        y.push_back(std::fma(c.v[j], lanes[0], (q[0] + q[1]) + (q[2] + q[3])));
      }
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CHECK(wkv::test::bit_difference(run(table->wkv5, c).y, y) == "");
      }
    }
  }

  TEST_CASE("runs of any length give the same bits as one long run") {
    std::mt19937 random(2);
    for (const int head_size : kHeadSizes) {
      const Case c(random, head_size, 24, head_size % 20 == 0);
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(head_size);
        CAPTURE(table->name);
        const Result whole = run(table->wkv5, c);
        for (const std::vector<int>& pieces :
             {std::vector<int>(24, 1), {1, 23}, {23, 1}, {7, 9, 8}, {2, 3, 5, 7, 7}}) {
          const Result parts = run(table->wkv5, c, pieces);
          CHECK(wkv::test::bit_difference(parts.y, whole.y) == "");
          CHECK(wkv::test::bit_difference(parts.state, whole.state) == "");
        }
      }
    }
  }

  TEST_CASE("follows the equations in a case small enough to compute by hand") {
    // One token, head size 8, everything 0 but channels 0 and 1.
    std::mt19937 random(3);
    Case c(random, 8, 1);
    for (Floats* values : {&c.r, &c.k, &c.v, &c.forget, &c.u, &c.state})
      std::fill(values->begin(), values->end(), 0.0F);
    c.r = {2, 3, 0, 0, 0, 0, 0, 0};
    c.k = {5, 7, 0, 0, 0, 0, 0, 0};
    c.v = {1, 10, 0, 0, 0, 0, 0, 0};
    c.forget[0] = 0.5F;
    c.u = {1, 2, 0, 0, 0, 0, 0, 0};
    c.state[0] = 100;  // S[0][0]
    c.state[9] = 200;  // S[1][1]
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      const Result result = run(table->wkv5, c);
      // y[0] = 2 (100 + 1*5*1) + 3 (0 + 2*7*1), y[1] = 2 (0 + 1*5*10) + 3 (200 + 2*7*10)
      CHECK(result.y == Floats{252, 1120, 0, 0, 0, 0, 0, 0});
      CHECK(result.state[0] == 55);   // 0.5 * 100 + 5 * 1
      CHECK(result.state[1] == 50);   // 5 * 10
      CHECK(result.state[8] == 7);    // 7 * 1
      CHECK(result.state[9] == 270);  // 200 + 7 * 10
    }
  }

  TEST_CASE("a state that only decays ends at 0 with the same bits on every instruction set") {
    wkv::test::on_engine_thread([] {
      std::mt19937 random(4);
      Case c(random, 64, 128);
      std::fill(c.k.begin(), c.k.end(), 0.0F);
      for (float& forget : c.forget) forget = forget < 0.3F ? 0.3F : forget;
      // 0.7^256 of numbers around 1 is 1e-40, below the smallest normal number.
      const Result once = run(wkv::portable_kernels().wkv5, c);
      Case again = c;
      again.state = once.state;
      const Result twice = run(wkv::portable_kernels().wkv5, again);
      Case third = c;
      third.state = twice.state;
      const Result thrice = run(wkv::portable_kernels().wkv5, third);
      CHECK(wkv::test::bit_difference(magnitudes(thrice.state), Floats(64 * 64, 0)) == "");
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        CHECK(wkv::test::bit_difference(run(table->wkv5, again).state, twice.state) == "");
        CHECK(wkv::test::bit_difference(run(table->wkv5, third).state, thrice.state) == "");
        CHECK(wkv::test::bit_difference(run(table->wkv5, third).y, thrice.y) == "");
      }
    });
  }
}
