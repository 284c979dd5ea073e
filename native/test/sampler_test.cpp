#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "engine/sampler.h"

namespace {

using Words = std::array<std::uint32_t, 4>;

// Philox 4x32-10 from the paper (Salmon et al., 2011), figure 4 and section 4.2.
Words philox(Words counter, std::array<std::uint32_t, 2> key) {
  const auto high = [](std::uint32_t a, std::uint32_t b) {
    return static_cast<std::uint32_t>((std::uint64_t{a} * b) >> 32U);
  };
  for (int round = 0; round < 10; ++round) {
    const auto [x0, x1, x2, x3] = counter;
    counter = {high(0xCD9E8D57U, x2) ^ x1 ^ key[0], 0xCD9E8D57U * x2, high(0xD2511F53U, x0) ^ x3 ^ key[1],
               0xD2511F53U * x0};
    key = {key[0] + 0x9E3779B9U, key[1] + 0xBB67AE85U};
  }
  return counter;
}

// The 53 bits of a number in [0, 1).
std::uint64_t bits53(double number) { return static_cast<std::uint64_t>(std::ldexp(number, 53)); }

// What sample() is documented to do, the long way round: probabilities of the tokens that may be drawn.
std::vector<double> distribution(const std::vector<float>& logits, double temperature, double top_p) {
  std::vector<double> p;
  double total = 0;
  const double most = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  for (const float logit : logits) p.push_back(std::exp(static_cast<double>(logit) - most));
  total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= total;
  std::vector<double> sorted = p;
  std::sort(sorted.rbegin(), sorted.rend());
  double cutoff = 0;
  double sum = 0;
  for (const double value : sorted) {
    sum += value;
    if (sum >= top_p) {
      cutoff = value;
      break;
    }
  }
  for (double& value : p) value = value < cutoff ? 0 : std::pow(value, 1 / temperature);
  total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= total;
  return p;
}

// The token drawn; the tests that use this expect one.
std::uint32_t drawn(const std::vector<float>& logits, float temperature, float top_p, double random) {
  return wkv::sample(logits, {.temperature = temperature, .top_p = top_p}, random).value();
}

// Where `random` falls when the tokens lie side by side; -1 within rounding of a border.
int pick(const std::vector<double>& p, double random) {
  double begin = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double end = begin + p[i];
    // The sums of up to a thousand doubles are good to 1e-13.
    if (p[i] > 0 && (std::abs(random - end) < 1e-12 || (begin > 0 && std::abs(random - begin) < 1e-12)))
      return -1;
    if (random < end) return static_cast<int>(i);
    begin = end;
  }
  return -1;
}

}  // namespace

TEST_SUITE("random numbers") {
  TEST_CASE("the test's own Philox gives the known answers of the Random123 distribution") {
    CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(philox({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
          Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  }

  TEST_CASE("uniform() is the first 53 bits of Philox at the counter `draw` under the key `seed`") {
    // 0x6627e8d5 above 21 bits of 0xe169c58d.
    CHECK(bits53(wkv::uniform(0, 0)) == ((0x6627e8d5ULL << 21U) | (0xe169c58dULL >> 11U)));
    std::mt19937_64 random(3);
    int wrong = 0;
    for (int i = 0; i < 10'000; ++i) {
      const std::uint64_t seed = i % 3 == 0 ? random() : random() >> 40U;
      const std::uint64_t draw = i % 5 == 0 ? random() : random() >> 50U;
      const Words words =
          philox({static_cast<std::uint32_t>(draw), static_cast<std::uint32_t>(draw >> 32U), 0, 0},
                 {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)});
      wrong += bits53(wkv::uniform(seed, draw)) != (std::uint64_t{words[0]} << 21U | words[1] >> 11U);
    }
    CHECK(wrong == 0);
  }

  TEST_CASE("numbers of one seed are spread evenly") {
    constexpr int kBuckets = 64;
    constexpr int kDraws = 64'000;
    std::array<int, kBuckets> counts = {};
    for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
      const double number = wkv::uniform(42, draw);
      REQUIRE((number >= 0 && number < 1));
      ++counts[static_cast<std::size_t>(number * kBuckets)];
    }
    double chi_square = 0;
    for (const int count : counts) chi_square += std::pow(count - kDraws / kBuckets, 2) / (kDraws / kBuckets);
    // 63 degrees of freedom: 110 is exceeded once in 5,000 seeds, 24 missed as seldom.
    CHECK(chi_square < 110);
    CHECK(chi_square > 24);
  }
}

TEST_SUITE("sampling") {
  TEST_CASE("at temperature 0 the most probable token is drawn, of equals the first") {
    for (const double random : {0.0, 0.5, 0.999}) {
      CHECK(drawn(std::vector<float>{1, 3, 3, 2}, 0, 1, random) == 1);
      CHECK(drawn(std::vector<float>{-5}, 0, 0.5F, random) == 0);
    }
  }

  TEST_CASE("tokens lie in ascending order, each as wide as its probability") {
    // Probabilities 1/8, 1/2, 1/4, 1/8.
    const std::vector<float> logits = {0, std::log(4.0F), std::log(2.0F), 0};
    CHECK(drawn(logits, 1, 1, 0) == 0);
    CHECK(drawn(logits, 1, 1, 0.124) == 0);
    CHECK(drawn(logits, 1, 1, 0.126) == 1);
    CHECK(drawn(logits, 1, 1, 0.624) == 1);
    CHECK(drawn(logits, 1, 1, 0.626) == 2);
    CHECK(drawn(logits, 1, 1, 0.876) == 3);
    CHECK(drawn(logits, 1, 1, 0x1.fffffffffffffp-1) == 3);
  }

  TEST_CASE("top-p keeps the smallest set that reaches the sum, and what ties with its last") {
    // Probabilities 0.4, 0.2, 0.2, 0.1, 0.1.
    const std::vector<float> logits = {std::log(4.0F), std::log(2.0F), std::log(2.0F), 0, 0};
    const auto reachable = [&](float top_p) {
      std::set<std::uint32_t> tokens;
      for (int i = 0; i < 1000; ++i) tokens.insert(drawn(logits, 1, top_p, i / 1000.0));
      return tokens;
    };
    CHECK(reachable(0) == std::set<std::uint32_t>{0});
    CHECK(reachable(0.39F) == std::set<std::uint32_t>{0});
    CHECK(reachable(0.41F) == std::set<std::uint32_t>{0, 1, 2});  // 0.4 + 0.2 suffices, but 1 and 2 are equal
    CHECK(reachable(0.79F) == std::set<std::uint32_t>{0, 1, 2});
    CHECK(reachable(0.81F) == std::set<std::uint32_t>{0, 1, 2, 3, 4});
    CHECK(reachable(1) == std::set<std::uint32_t>{0, 1, 2, 3, 4});
  }

  TEST_CASE("top-p counts the probabilities before temperature") {
    // At temperature 1 the first token has 0.6, at temperature 10 about 0.27 of four.
    const std::vector<float> logits = {std::log(4.5F), 0, 0, 0};
    for (const double random : {0.0, 0.3, 0.6, 0.99}) {
      CHECK(drawn(logits, 10, 0.5F, random) == 0);
    }
  }

  TEST_CASE("agrees with the definition on random logits, temperatures and top-p") {
    std::mt19937 random(11);
    int wrong = 0;
    for (int i = 0; i < 2000; ++i) {
      std::vector<float> logits(1 + random() % 700);
      std::normal_distribution<float> normal(0, static_cast<float>(i % 7));
      for (float& logit : logits) logit = i % 4 == 0 ? std::round(normal(random)) : normal(random);
      const float temperature = std::ldexp(1.0F, static_cast<int>(random() % 6) - 3);
      const float top_p = static_cast<float>(random() % 101) / 100;
      const double number = wkv::uniform(1, static_cast<std::uint64_t>(i));
      const std::vector<double> p =
          distribution(logits, static_cast<double>(temperature), static_cast<double>(top_p));
      const int expected = pick(p, number);
      const std::uint32_t actual = drawn(logits, temperature, top_p, number);
      wrong += actual >= logits.size() || p[actual] == 0 ||
               (expected >= 0 && static_cast<int>(actual) != expected);
    }
    CHECK(wrong == 0);
  }

  TEST_CASE("extreme temperatures and logits neither overflow nor leave the vocabulary") {
    const float huge = std::numeric_limits<float>::max();
    const float infinity = std::numeric_limits<float>::infinity();
    CHECK(drawn(std::vector<float>{1, 2, 3}, 1e-30F, 1, 0.99) == 2);
    CHECK(drawn(std::vector<float>{1, 2, 3}, 1e-45F, 1, 0) == 2);
    CHECK(drawn(std::vector<float>{-huge, huge, -huge}, 1, 1, 0) == 1);
    CHECK(drawn(std::vector<float>{-infinity, 0, -infinity}, 1e6F, 1, 0) == 1);
    CHECK(drawn(std::vector<float>{0, 0}, 1e6F, 1, 0.6) == 1);
  }

  TEST_CASE("forbidden tokens are never drawn, and the others share what they had") {
    const auto forbidden =
        std::make_shared<const std::vector<std::uint32_t>>(std::vector<std::uint32_t>{1, 3});
    // Of 1/2 (forbidden), 1/4, 1/8 (forbidden), 1/8 remain 2/3 and 1/3.
    const std::vector<float> logits = {std::log(2.0F), std::log(4.0F), 0, 0};
    const wkv::Sampling plain{.temperature = 1, .top_p = 1, .forbidden = forbidden};
    CHECK(wkv::sample(logits, plain, 0.66) == 0);
    CHECK(wkv::sample(logits, plain, 0.67) == 2);
    CHECK(wkv::sample(logits, {.temperature = 0, .top_p = 1, .forbidden = forbidden}, 0.9) == 0);
    // top-p counts what remains: the first token alone has 0.66 of it.
    CHECK(wkv::sample(logits, {.temperature = 1, .top_p = 0.6F, .forbidden = forbidden}, 0.99) == 0);
    CHECK(wkv::sample(logits, {.temperature = 1, .top_p = 0.7F, .forbidden = forbidden}, 0.99) == 2);
    // Logits that do not count may be anything.
    const float nan = std::numeric_limits<float>::quiet_NaN();
    CHECK(wkv::sample(std::vector<float>{0, nan, 0, nan}, plain, 0.75) == 2);
  }

  TEST_CASE("there is nothing to draw where a logit is not a number, wherever it stands") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    for (const float temperature : {0.0F, 0.5F, 1.0F}) {
      CAPTURE(temperature);
      for (std::size_t place = 0; place < 3; ++place) {
        CAPTURE(place);
        std::vector<float> logits = {1, 2, 3};
        logits[place] = nan;
        CHECK(!wkv::sample(logits, {.temperature = temperature, .top_p = 0.9F}, 0.5));
        logits[place] = infinity;
        CHECK(!wkv::sample(logits, {.temperature = temperature, .top_p = 0.9F}, 0.5));
      }
      CHECK(!wkv::sample(std::vector<float>{-infinity, -infinity}, {.temperature = temperature, .top_p = 1},
                         0.5));
    }
  }
}
