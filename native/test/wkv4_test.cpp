#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "test/support/recurrence.h"

using wkv::test::Floats;
using wkv::test::Guarded;

namespace {

struct Case {
  Case(std::mt19937& random, int channels, int count)
      : size(channels), shape{static_cast<std::size_t>(channels), count} {
    const std::size_t n = shape.channels;
    const std::size_t numbers = shape.numbers();
    r = wkv::test::random_floats(random, numbers, -4, 4);
    // Keys differ so much that one token may outweigh all others.
    k = wkv::test::random_floats(random, numbers, -20, 20);
    v = wkv::test::random_floats(random, numbers);
    w = wkv::test::random_floats(random, n, -8, 0);
    for (std::size_t i = 0; i < n; i += 3) w[i] *= 1e-4F;
    u = wkv::test::random_floats(random, n, -3, 3);
    aa = Floats(n, 0);
    bb = Floats(n, 0);
    pp = Floats(n, -1e30F);
  }

  int size;
  wkv::test::RunShape shape;
  Floats r, k, v, w, u, aa, bb, pp;
};

struct Result {
  Floats y, aa, bb, pp;
};

Result run(wkv::Wkv4 kernel, const Case& c, const std::vector<int>& pieces) {
  Guarded<float> r(c.r);
  Guarded<float> k(c.k);
  Guarded<float> v(c.v);
  Guarded<float> w(c.w);
  Guarded<float> u(c.u);
  Guarded<float> aa(c.aa);
  Guarded<float> bb(c.bb);
  Guarded<float> pp(c.pp);
  const Floats all = c.shape.in_pieces(pieces, [&](std::size_t at, int tokens, float* y) {
    kernel({.r = r.data() + at,
            .k = k.data() + at,
            .v = v.data() + at,
            .w = w.data(),
            .u = u.data(),
            .aa = aa.data(),
            .bb = bb.data(),
            .pp = pp.data(),
            .y = y,
            .stride = static_cast<std::ptrdiff_t>(c.shape.stride()),
            .tokens = tokens,
            .size = c.size});
  });
  CHECK((aa.intact() && bb.intact() && pp.intact()));
  return {all, aa.copy(), bb.copy(), pp.copy()};
}

Result run(wkv::Wkv4 kernel, const Case& c) { return run(kernel, c, {c.shape.tokens}); }

void check_same(const Result& actual, const Result& expected) {
  CHECK(wkv::test::bit_difference(actual.y, expected.y) == "");
  CHECK(wkv::test::bit_difference(actual.aa, expected.aa) == "");
  CHECK(wkv::test::bit_difference(actual.bb, expected.bb) == "");
  CHECK(wkv::test::bit_difference(actual.pp, expected.pp) == "");
}

}  // namespace

TEST_SUITE("wkv4") {
  TEST_CASE("agrees with its naive form, and on every instruction set to the bit") {
    std::mt19937 random(1);
    for (const int size : {1, 2, 15, 16, 17, 32, 70}) {
      for (const int tokens : {1, 2, 5, 40}) {
        CAPTURE(size);
        CAPTURE(tokens);
        const Case c(random, size, tokens);
        const Result expected = run(wkv::reference::wkv4, c);
        const Result portable = run(wkv::portable_kernels().wkv4, c);
        // Values are at most 1 in magnitude, and so is their average. A token rounds an exponent of up to 40
        // and two exponentials, 50 roundings; each step's error is weighed down as the step itself is.
        const double each = 60 * wkv::test::kRounding;
        CHECK(wkv::test::beyond(portable.y, expected.y, [&](std::size_t) { return each * 8; }) == "");
        const auto near = [&](const Floats& actual, const Floats& naive, const Floats& weight) {
          return wkv::test::beyond(
              actual, naive, [&](std::size_t i) { return each * tokens * static_cast<double>(weight[i]); });
        };
        CHECK(near(portable.aa, expected.aa, expected.bb) == "");
        CHECK(near(portable.bb, expected.bb, expected.bb) == "");
        CHECK(wkv::test::beyond(portable.pp, expected.pp, [&](std::size_t i) {
                return tokens * wkv::test::kRounding * (20 + std::abs(static_cast<double>(expected.pp[i])));
              }) == "");
        for (const wkv::KernelTable* table : wkv::available_kernels()) {
          CAPTURE(table->name);
          check_same(run(table->wkv4, c), portable);
        }
      }
    }
  }

  TEST_CASE("runs of any length give the same bits as one long run") {
    std::mt19937 random(2);
    const Case c(random, 37, 24);
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      CAPTURE(table->name);
      const Result whole = run(table->wkv4, c);
      for (const std::vector<int>& pieces : {std::vector<int>(24, 1), {1, 23}, {7, 9, 8}}) {
        check_same(run(table->wkv4, c, pieces), whole);
      }
    }
  }

  TEST_CASE("follows the equations in a case small enough to compute by hand") {
    std::mt19937 random(3);
    Case c(random, 1, 2);
    c.r.assign(c.r.size(), 0);  // the gate is a half
    c.k.assign(c.k.size(), 0);
    c.v[0] = 1;
    c.v[c.shape.stride()] = 3;
    c.w = {-std::log(2.0F)};
    c.u = {0};
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      const Result result = run(table->wkv4, c);
      CHECK(result.y[0] == doctest::Approx(0.5));
      // The first token has not decayed yet: (1 + 3) / 2.
      CHECK(result.y[c.shape.stride()] == doctest::Approx(1));
      CHECK(result.aa[0] == doctest::Approx(3.5));
      CHECK(result.bb[0] == doctest::Approx(1.5));
      CHECK(result.pp[0] == 0);
    }
  }

  TEST_CASE("keys of any size overflow nothing") {
    std::mt19937 random(4);
    Case c(random, 20, 30);
    for (std::size_t i = 0; i < c.k.size(); ++i) c.k[i] = i % 7 == 0 ? 1e30F : i % 3 == 0 ? -1e30F : 300;
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      CAPTURE(table->name);
      const Result result = run(table->wkv4, c);
      for (std::size_t i = 0; i < result.y.size(); ++i) {
        if (i % c.shape.stride() < c.shape.channels) CHECK(std::abs(result.y[i]) <= 1.001F);
      }
      for (const Floats* part : {&result.aa, &result.bb, &result.pp}) {
        for (const float number : *part) CHECK(std::isfinite(number));
      }
    }
  }
}
