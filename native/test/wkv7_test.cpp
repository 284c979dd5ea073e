#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "test/support/recurrence.h"

using wkv::test::Floats;
using wkv::test::Guarded;

namespace {

constexpr int kHeadSizes[] = {1, 3, 8, 10, 16, 33, 64, 80};

Floats unit_vector(std::mt19937& random, std::size_t size) {
  Floats vector = wkv::test::random_floats(random, size);
  double squares = 0;
  for (const float x : vector) squares += static_cast<double>(x) * static_cast<double>(x);
  for (float& x : vector) x = static_cast<float>(static_cast<double>(x) / std::sqrt(squares));
  return vector;
}

// One head over some tokens.
struct Case {
  Case(std::mt19937& random, int head, int count)
      : head_size(head), shape{static_cast<std::size_t>(head), count} {
    const std::size_t n = shape.channels;
    const std::size_t channels = shape.numbers();
    r = wkv::test::random_floats(random, channels);
    k = wkv::test::random_floats(random, channels);
    v = wkv::test::random_floats(random, channels);
    // What RWKV-7's decay can be; some channels hardly forget.
    forget = wkv::test::random_floats(random, channels, 0, 0.45F);
    for (std::size_t i = 0; i < channels; i += 3) forget[i] *= 1e-4F;
    kappa = Floats(channels);
    b = Floats(channels);
    for (std::size_t token = 0; token < static_cast<std::size_t>(count); ++token) {
      const Floats direction = unit_vector(random, n);
      const Floats rate = wkv::test::random_floats(random, n, 0, 1);
      for (std::size_t i = 0; i < n; ++i) {
        kappa[token * shape.stride() + i] = direction[i];
        b[token * shape.stride() + i] = direction[i] * rate[i];
      }
    }
    state = wkv::test::random_floats(random, n * n);
  }

  int head_size;
  wkv::test::RunShape shape;
  Floats r, k, v, forget, kappa, b, state;
};

struct Result {
  Floats y, state;
};

Result run(wkv::Wkv7 kernel, const Case& c, const std::vector<int>& pieces) {
  Guarded<float> r(c.r);
  Guarded<float> k(c.k);
  Guarded<float> v(c.v);
  Guarded<float> forget(c.forget);
  Guarded<float> kappa(c.kappa);
  Guarded<float> b(c.b);
  Guarded<float> state(c.state);
  const Floats all = c.shape.in_pieces(pieces, [&](std::size_t at, int tokens, float* y) {
    kernel({.r = r.data() + at,
            .forget = forget.data() + at,
            .k = k.data() + at,
            .v = v.data() + at,
            .kappa = kappa.data() + at,
            .b = b.data() + at,
            .state = state.data(),
            .y = y,
            .stride = static_cast<std::ptrdiff_t>(c.shape.stride()),
            .tokens = tokens,
            .head_size = c.head_size});
  });
  CHECK(state.intact());
  return {all, state.copy()};
}

Result run(wkv::Wkv7 kernel, const Case& c) { return run(kernel, c, {c.shape.tokens}); }

struct Keys {
  Floats k, kappa, b;
};

Keys run(wkv::Wkv7Keys kernel, const Floats& keys, const Floats& rates, const Floats& k_k,
         const Floats& k_a) {
  Guarded<float> k(keys);
  Guarded<float> a(rates);
  Guarded<float> scale(k_k);
  Guarded<float> change(k_a);
  Guarded<float> kappa(keys.size());
  Guarded<float> b(keys.size());
  kernel({.k = k.data(),
          .a = a.data(),
          .k_k = scale.data(),
          .k_a = change.data(),
          .kappa = kappa.data(),
          .b = b.data(),
          .head_size = static_cast<int>(keys.size())});
  CHECK((k.intact() && kappa.intact() && b.intact()));
  return {k.copy(), kappa.copy(), b.copy()};
}

}  // namespace

TEST_SUITE("wkv7") {
  TEST_CASE("agrees with its naive form at every head size, and on every instruction set to the bit") {
    std::mt19937 random(1);
    for (const int head_size : kHeadSizes) {
      for (const int tokens : {1, 2, 3, 30}) {
        CAPTURE(head_size);
        CAPTURE(tokens);
        const Case c(random, head_size, tokens);
        const Result expected = run(wkv::reference::wkv7, c);
        const Result portable = run(wkv::portable_kernels().wkv7, c);
        // The transition shrinks or keeps the state, so errors of steps add up at most. A step's sums have
        // head_size terms, of numbers that grow by up to 1 with each token.
        const double size = 1.0 + tokens;
        const double each = 3 * (head_size + 10) * wkv::test::kRounding * size;
        CHECK(wkv::test::beyond(portable.state, expected.state, [&](std::size_t) { return each * tokens; }) ==
              "");
        CHECK(wkv::test::beyond(portable.y, expected.y,
                                [&](std::size_t) { return each * (tokens + 1) * head_size; }) == "");
        for (const wkv::KernelTable* table : wkv::available_kernels()) {
          CAPTURE(table->name);
          const Result result = run(table->wkv7, c);
          CHECK(wkv::test::bit_difference(result.y, portable.y) == "");
          CHECK(wkv::test::bit_difference(result.state, portable.state) == "");
        }
      }
    }
  }

  TEST_CASE("runs of any length give the same bits as one long run") {
    std::mt19937 random(2);
    for (const int head_size : {10, 64}) {
      const Case c(random, head_size, 24);
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        const Result whole = run(table->wkv7, c);
        for (const std::vector<int>& pieces : {std::vector<int>(24, 1), {1, 23}, {7, 9, 8}}) {
          const Result parts = run(table->wkv7, c, pieces);
          CHECK(wkv::test::bit_difference(parts.y, whole.y) == "");
          CHECK(wkv::test::bit_difference(parts.state, whole.state) == "");
        }
      }
    }
  }

  TEST_CASE("a key that comes again with a rate of 1 replaces its value") {
    // Two tokens with the same key: without decay the state then holds the second value alone.
    std::mt19937 random(3);
    Case c(random, 2, 2);
    c.state.assign(4, 0);
    c.forget.assign(c.forget.size(), 0);
    for (const std::size_t at : {std::size_t{0}, c.shape.stride()}) {
      c.r[at] = c.k[at] = c.kappa[at] = c.b[at] = 1;
      c.r[at + 1] = c.k[at + 1] = c.kappa[at + 1] = c.b[at + 1] = 0;
    }
    c.v[0] = 5;
    c.v[1] = 7;
    c.v[c.shape.stride()] = 11;
    c.v[c.shape.stride() + 1] = 13;
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      const Result result = run(table->wkv7, c);
      CHECK(result.state == Floats{11, 0, 13, 0});  // [value][key]
      CHECK((result.y[0] == 5 && result.y[1] == 7));
      CHECK((result.y[c.shape.stride()] == 11 && result.y[c.shape.stride() + 1] == 13));
    }
  }

  TEST_CASE("keys and bonus agree with their naive forms, and on every instruction set to the bit") {
    std::mt19937 random(4);
    for (std::size_t size = 1; size < 70; ++size) {
      CAPTURE(size);
      const Floats keys = wkv::test::random_floats(random, size, -3, 3);
      const Floats rates = wkv::test::random_floats(random, size, 0, 1);
      const Floats k_k = wkv::test::random_floats(random, size, 0.5F, 1);
      const Floats k_a = wkv::test::random_floats(random, size, 0, 2);
      const Keys expected = run(wkv::reference::wkv7_keys, keys, rates, k_k, k_a);
      const Keys portable = run(wkv::portable_kernels().wkv7_keys, keys, rates, k_k, k_a);
      const auto near = [&](const Floats& actual, const Floats& naive, double scale) {
        // A sum of `size` squares, its root, a reciprocal and some products.
        return wkv::test::beyond(actual, naive, [&](std::size_t) {
          return (static_cast<double>(size) / 16 + 16) * wkv::test::kRounding * scale;
        });
      };
      CHECK(near(portable.k, expected.k, 9) == "");
      CHECK(near(portable.kappa, expected.kappa, 1) == "");
      CHECK(near(portable.b, expected.b, 1) == "");

      const Floats y = wkv::test::random_floats(random, size);
      const auto add_bonus = [&](wkv::Wkv7Bonus kernel) {
        Guarded<float> place(y);
        Guarded<float> r(rates);
        Guarded<float> k(keys);
        Guarded<float> v(k_k);
        Guarded<float> r_k(k_a);
        kernel({.y = place.data(),
                .r = r.data(),
                .k = k.data(),
                .v = v.data(),
                .r_k = r_k.data(),
                .head_size = static_cast<int>(size)});
        CHECK(place.intact());
        return place.copy();
      };
      const Floats bonus = add_bonus(wkv::portable_kernels().wkv7_bonus);
      CHECK(wkv::test::beyond(bonus, add_bonus(wkv::reference::wkv7_bonus), [&](std::size_t) {
              return (static_cast<double>(size) + 4) * 6 * static_cast<double>(size) * wkv::test::kRounding;
            }) == "");
      for (const wkv::KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        const Keys result = run(table->wkv7_keys, keys, rates, k_k, k_a);
        CHECK(wkv::test::bit_difference(result.k, portable.k) == "");
        CHECK(wkv::test::bit_difference(result.kappa, portable.kappa) == "");
        CHECK(wkv::test::bit_difference(result.b, portable.b) == "");
        CHECK(wkv::test::bit_difference(add_bonus(table->wkv7_bonus), bonus) == "");
      }
    }
  }

  TEST_CASE("a key of zeros has no direction") {
    for (const wkv::KernelTable* table : wkv::available_kernels()) {
      const Floats zeros(20, 0);
      const Keys keys = run(table->wkv7_keys, zeros, Floats(20, 0.5F), Floats(20, 1), Floats(20, 1));
      CHECK(wkv::test::bit_difference(keys.kappa, zeros) == "");
      CHECK(wkv::test::bit_difference(keys.b, zeros) == "");
    }
  }
}
