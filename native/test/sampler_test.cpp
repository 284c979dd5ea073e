#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "backend/cpu/denormals.h"
#include "engine/sampler.h"
#include "test/support/sampling.h"

using wkv::Sampling;
using wkv::SamplingStep;
using wkv::TokenCounts;
using wkv::test::bias_of;
using wkv::test::for_both;
using wkv::test::Ids;
using wkv::test::Logits;
using wkv::test::logs;
using wkv::test::mask_of;
using wkv::test::one_of;
using wkv::test::plain;
using wkv::test::random_logits;
using wkv::test::Sample;
using wkv::test::set_of;
using wkv::test::token;

namespace {

using Set = std::set<std::uint32_t>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Everything that can be drawn, if it has a thousandth or more.
Set reachable(Sample sample, const Logits& logits, const Sampling& sampling) {
  Set tokens;
  for (int i = 0; i < 2000; ++i) tokens.insert(sample(logits, sampling, {}, i / 2000.0).value().token);
  return tokens;
}

std::array<SamplingStep, 5> first_steps() {
  return {SamplingStep::kTopP, SamplingStep::kTopK, SamplingStep::kMinP, SamplingStep::kTypicalP,
          SamplingStep::kTemperature};
}

TokenCounts random_counts(std::mt19937& random, std::size_t vocabulary) {
  std::vector<TokenCounts::Entry> entries;
  for (std::size_t id = random() % 3; id < vocabulary + 5; id += 1 + random() % 9) {
    entries.push_back({static_cast<std::uint32_t>(id), static_cast<double>(random() % 1000) / 250});
  }
  return TokenCounts::from(std::move(entries));
}

Sampling random_sampling(std::mt19937& random) {
  Sampling sampling;
  sampling.temperature = one_of(random, {1.0, 0.3, 0.7, 2.5, 50.0});
  sampling.top_p = one_of(random, {0.85, 0.0, 0.3, 0.99, 1.0});
  sampling.top_k = one_of<std::uint32_t>(random, {0, 0, 1, 4, 40});
  sampling.min_p = one_of(random, {0.0, 0.0, 0.02, 0.3, 1.0});
  sampling.typical_p = one_of(random, {1.0, 1.0, 0.2, 0.7, 0.95});
  if (random() % 3 == 0) {
    sampling.bias = bias_of({{0, 1.5F}, {1, -kInfinity}, {14, -3}, {16, 0.25F}, {1000000, 9}});
  }
  if (random() % 3 == 0) sampling.forbidden = set_of({2, 3, 15, 299, 70000});
  if (random() % 3 == 0) {
    Ids bits(2300);
    std::generate(bits.begin(), bits.end(), [&] { return static_cast<std::uint32_t>(random() & random()); });
    sampling.mask = mask_of(bits);
  }
  return sampling;
}

// Whether both forms draw the same token. Where the fast one leaves thousands of tokens it has weights in
// single precision, which move borders between tokens by up to 1e-6 of the whole.
bool agree(const Logits& logits, const Sampling& sampling, const TokenCounts& counts, double number) {
  const auto fast = wkv::sample(logits, sampling, counts, number);
  const auto naive = [&](double at) { return wkv::reference::sample(logits, sampling, counts, at); };
  const auto expected = naive(number);
  if (!fast || !expected) return !fast && !expected;
  if (fast->token == expected->token) return true;
  if (logits.size() <= 4096) return false;
  return fast->token == naive(std::max(0.0, number - 1e-6))->token ||
         fast->token == naive(std::min(number + 1e-6, 0x1.fffffffffffffp-1))->token;
}

}  // namespace

TEST_SUITE("sampling") {
  TEST_CASE("tokens lie in ascending order, each as wide as its probability") {
    for_both([](Sample sample) {
      const Logits logits = logs({1.0 / 8, 1.0 / 2, 1.0 / 4, 1.0 / 8});
      const auto at = [&](double random) { return token(sample, logits, plain(), random); };
      CHECK(at(0) == 0);
      CHECK(at(0.124) == 0);
      CHECK(at(0.126) == 1);
      CHECK(at(0.624) == 1);
      CHECK(at(0.626) == 2);
      CHECK(at(0.876) == 3);
      CHECK(at(0x1.fffffffffffffp-1) == 3);
    });
  }

  TEST_CASE(
      "at temperature 0 the most probable token is drawn, of equals the first, whatever the rest says") {
    for_both([](Sample sample) {
      Sampling sampling = plain();
      sampling.temperature = 0;
      sampling.top_k = 1;
      sampling.typical_p = 0.1;
      for (const double random : {0.0, 0.5, 0.999}) {
        CHECK(token(sample, {1, 3, 3, 2}, sampling, random) == 1);
        CHECK(token(sample, {-5}, sampling, random) == 0);
        Logits logits(300, -1);
        logits[299] = logits[256] = 0;
        CHECK(token(sample, logits, sampling, random) == 256);
      }
      // Equals in several groups of the maxima: of several blocks of 1024 tokens, and of one.
      const auto first_of = [&](const Ids& highest) {
        Logits logits(65536, -1);
        for (const std::uint32_t id : highest) logits[id] = 1;
        return token(sample, logits, sampling, 0.5);
      };
      CHECK(first_of({5, 19, 20, 3000}) == 5);
      CHECK(first_of({5, 19, 20}) == 5);
      CHECK(first_of({2063, 2064, 3071, 65535}) == 2063);
    });
  }

  TEST_CASE("top-p keeps the smallest set that reaches the sum, and what ties with its last") {
    for_both([](Sample sample) {
      const Logits logits = logs({0.4, 0.2, 0.2, 0.1, 0.1});
      const auto kept = [&](double top_p) {
        Sampling sampling;
        sampling.top_p = top_p;
        return reachable(sample, logits, sampling);
      };
      CHECK(kept(0) == Set{0});
      CHECK(kept(0.39) == Set{0});
      CHECK(kept(0.41) == Set{0, 1, 2});  // 0.4 + 0.2 suffices, but 1 and 2 are equal
      CHECK(kept(0.79) == Set{0, 1, 2});
      CHECK(kept(0.81) == Set{0, 1, 2, 3, 4});
      CHECK(kept(1) == Set{0, 1, 2, 3, 4});
    });
  }

  TEST_CASE("top-k keeps so many, of equals the lower ids") {
    for_both([](Sample sample) {
      const Logits logits = logs({0.1, 0.2, 0.4, 0.2, 0.1});
      const auto kept = [&](std::uint32_t top_k) {
        Sampling sampling = plain();
        sampling.top_k = top_k;
        return reachable(sample, logits, sampling);
      };
      CHECK(kept(0) == Set{0, 1, 2, 3, 4});
      CHECK(kept(1) == Set{2});
      CHECK(kept(2) == Set{1, 2});
      CHECK(kept(3) == Set{1, 2, 3});
      CHECK(kept(4) == Set{0, 1, 2, 3});
      CHECK(kept(5) == Set{0, 1, 2, 3, 4});
      CHECK(kept(~0U) == Set{0, 1, 2, 3, 4});
    });
  }

  TEST_CASE("min-p keeps what is so many times as probable as the most probable") {
    for_both([](Sample sample) {
      const Logits logits = logs({0.1, 0.2, 0.4, 0.2, 0.1});
      const auto kept = [&](double min_p) {
        Sampling sampling = plain();
        sampling.min_p = min_p;
        return reachable(sample, logits, sampling);
      };
      CHECK(kept(0.24) == Set{0, 1, 2, 3, 4});
      CHECK(kept(0.26) == Set{1, 2, 3});
      CHECK(kept(0.49) == Set{1, 2, 3});
      CHECK(kept(0.51) == Set{2});
      CHECK(kept(1) == Set{2});
    });
  }

  TEST_CASE("typical-p keeps what is nearest to the entropy, even if it is not the most probable") {
    for_both([](Sample sample) {
      // Entropy 1.28 nats. -ln p: 0.69, 1.39, 2.08, 2.77, 2.77; so the order is 1 (0.11 away), 0 (0.59),
      // 2 (0.80), then 3 and 4.
      const Logits logits = logs({1.0 / 2, 1.0 / 4, 1.0 / 8, 1.0 / 16, 1.0 / 16});
      const auto kept = [&](double typical_p) {
        Sampling sampling = plain();
        sampling.typical_p = typical_p;
        return reachable(sample, logits, sampling);
      };
      CHECK(kept(0.24) == Set{1});
      CHECK(kept(0.26) == Set{0, 1});
      CHECK(kept(0.74) == Set{0, 1});
      CHECK(kept(0.76) == Set{0, 1, 2});
      CHECK(kept(0.88) == Set{0, 1, 2, 3, 4});
      CHECK(kept(1) == Set{0, 1, 2, 3, 4});
    });
  }

  TEST_CASE("the temperature bends probabilities: p^(1/T)") {
    for_both([](Sample sample) {
      const Logits logits = logs({0.8, 0.2});
      const auto border = [&](double temperature) {
        Sampling sampling = plain();
        sampling.temperature = temperature;
        int count = 0;
        for (int i = 0; i < 10000; ++i) count += token(sample, logits, sampling, i / 1e4) == 0 ? 1 : 0;
        return count;
      };
      CHECK(border(1) == doctest::Approx(8000).epsilon(2e-4));
      CHECK(border(0.5) == doctest::Approx(1e4 * 0.64 / 0.68).epsilon(2e-4));
      CHECK(border(2) == doctest::Approx(1e4 * 2 / 3).epsilon(2e-4));  // sqrt(0.8) = 2 sqrt(0.2)
    });
  }

  TEST_CASE("steps work on what the ones before them left") {
    for_both([](Sample sample) {
      // At temperature 1/2 the probabilities 0.5, 0.3, 0.2 become 25, 9 and 4 of 38: 0.66, 0.24, 0.11.
      const Logits logits = logs({0.5, 0.3, 0.2});
      Sampling sampling;
      sampling.temperature = 0.5;
      sampling.top_p = 0.6;
      CHECK(reachable(sample, logits, sampling) == Set{0, 1});
      sampling.order = {SamplingStep::kTemperature, SamplingStep::kTopP, SamplingStep::kTopK,
                        SamplingStep::kMinP, SamplingStep::kTypicalP};
      CHECK(reachable(sample, logits, sampling) == Set{0});
      // Of two tokens, 0.625 and 0.375, the first reaches 0.6; of three, 0.5, it does not.
      sampling.temperature = 1;
      sampling.top_k = 2;
      CHECK(reachable(sample, logits, sampling) == Set{0, 1});
      sampling.order = {SamplingStep::kTopK, SamplingStep::kTopP, SamplingStep::kTemperature,
                        SamplingStep::kMinP, SamplingStep::kTypicalP};
      CHECK(reachable(sample, logits, sampling) == Set{0});
    });
  }

  TEST_CASE("a counted token's logit is lowered by the presence penalty and its count's share") {
    for_both([](Sample sample) {
      Sampling sampling;
      sampling.temperature = 0;
      sampling.presence_penalty = 0.5;
      sampling.frequency_penalty = 0.25;
      const auto best = [&](double count, float other) {
        return token(sample, {3, other}, sampling, 0, TokenCounts::from({{0, count}, {7, 100}}));
      };
      CHECK(best(0, 2.49F) == 0);  // 3 - 0.5
      CHECK(best(0, 2.51F) == 1);
      CHECK(best(4, 1.49F) == 0);  // 3 - 0.5 - 4 * 0.25
      CHECK(best(4, 1.51F) == 1);
      sampling.presence_penalty = -1;
      sampling.frequency_penalty = -1;
      CHECK(best(2, 5.99F) == 0);
      CHECK(best(2, 6.01F) == 1);
    });
  }

  TEST_CASE("a bias is added to the logit, beside penalties; -infinity forbids") {
    for_both([](Sample sample) {
      Sampling sampling;
      sampling.temperature = 0;
      sampling.presence_penalty = 1;
      const TokenCounts counts = TokenCounts::from({{1, 0}});
      sampling.bias = bias_of({{1, 3}, {9, 100}});
      CHECK(token(sample, {0, 0, 1.9F}, sampling, 0, counts) == 1);
      CHECK(token(sample, {0, 0, 2.1F}, sampling, 0, counts) == 2);
      sampling.bias = bias_of({{0, -kInfinity}, {2, -kInfinity}});
      CHECK(token(sample, {5, 0, 5}, sampling, 0, counts) == 1);
      sampling.temperature = 1;
      CHECK(reachable(sample, {5, 0, 5}, sampling) == Set{1});
    });
  }

  TEST_CASE("forbidden tokens are never drawn, and the others share what they had") {
    for_both([](Sample sample) {
      // Of 1/4, 1/2 (forbidden), 1/8, 1/8 (forbidden) remain 2/3 and 1/3.
      const Logits logits = logs({1.0 / 4, 1.0 / 2, 1.0 / 8, 1.0 / 8});
      Sampling sampling = plain();
      sampling.forbidden = set_of({1, 3, 1000});
      CHECK(token(sample, logits, sampling, 0.66) == 0);
      CHECK(token(sample, logits, sampling, 0.67) == 2);
      CHECK(token(sample, logits, sampling, 0x1.fffffffffffffp-1) == 2);
      sampling.top_p = 0.6;
      CHECK(token(sample, logits, sampling, 0.99) == 0);
      sampling.top_p = 0.7;
      CHECK(token(sample, logits, sampling, 0.99) == 2);
      sampling.temperature = 0;
      CHECK(token(sample, logits, sampling, 0.9) == 0);
      sampling.temperature = 1;
      sampling.forbidden = set_of({0});
      CHECK(token(sample, logits, sampling, 0) == 1);
    });
  }

  TEST_CASE("of a mask only the tokens whose bits are set are drawn, at any temperature") {
    for_both([](Sample sample) {
      Sampling sampling = plain();
      // 40 equal logits: the bits of tokens 1, 31, 32 and 38, and of some that there are not.
      const Logits logits(40, 0);
      sampling.mask = mask_of({1U << 1 | 1U << 31, 1U << 0 | 1U << 6 | 1U << 8, ~0U});
      CHECK(reachable(sample, logits, sampling) == Set{1, 31, 32, 38});
      CHECK(token(sample, logits, sampling, 0.3) == 31);
      sampling.forbidden = set_of({31});
      sampling.bias = bias_of({{1, -kInfinity}, {5, 9}});
      CHECK(reachable(sample, logits, sampling) == Set{32, 38});
      sampling.temperature = 0;
      CHECK(token(sample, logits, sampling, 0.9) == 32);
      // What has no bit is not drawn.
      sampling.mask = mask_of({1U << 7});
      CHECK(reachable(sample, logits, sampling) == Set{7});
      for (const Ids& none : {Ids{0, 0}, Ids{}}) {
        sampling.mask = mask_of(none);
        CHECK(!sample(logits, sampling, {}, 0.5));
      }
    });
  }

  TEST_CASE("there is nothing to draw where a logit is not finite, wherever it stands") {
    for_both([](Sample sample) {
      for (const double temperature : {0.0, 1.0}) {
        Sampling sampling;
        sampling.temperature = temperature;
        sampling.forbidden = set_of({5});
        for (std::size_t place = 0; place < 40; ++place) {
          for (const float wrong : {kNaN, kInfinity, -kInfinity}) {
            Logits logits(40, 1);
            logits[place] = wrong;
            CHECK(!sample(logits, sampling, {}, 0.5));
          }
        }
      }
    });
  }

  TEST_CASE("there is nothing to draw of no logits, of forbidden ones, or of those a bias makes infinite") {
    for_both([](Sample sample) {
      for (const double temperature : {0.0, 1.0}) {
        Sampling sampling;
        sampling.temperature = temperature;
        CHECK(!sample({}, sampling, {}, 0.5));
        sampling.forbidden = set_of({0, 2});
        sampling.bias = bias_of({{1, -kInfinity}});
        CHECK(!sample(Logits{1, 2, 3}, sampling, {}, 0.5));
        sampling.bias = bias_of({{1, kInfinity}});
        CHECK(!sample(Logits{1, 2, 3}, sampling, {}, 0.5));
        sampling.bias = bias_of({{1, kNaN}});
        CHECK(!sample(Logits{1, 2, 3}, sampling, {}, 0.5));
      }
    });
  }

  TEST_CASE("extreme temperatures and logits neither overflow nor leave the vocabulary") {
    for_both([](Sample sample) {
      const float huge = std::numeric_limits<float>::max();
      for (const auto& order :
           {first_steps(), std::array{SamplingStep::kTemperature, SamplingStep::kTopP, SamplingStep::kTopK,
                                      SamplingStep::kMinP, SamplingStep::kTypicalP}}) {
        for (const double top_p : {0.9, 1.0}) {
          Sampling sampling;
          sampling.order = order;
          sampling.top_p = top_p;
          for (const double temperature : {1e-30, 1e-45, 1e-310}) {
            sampling.temperature = temperature;
            CHECK(token(sample, {1, 2, 3}, sampling, 0.99) == 2);
            CHECK(token(sample, {-1, -2, -3}, sampling, 0.99) == 0);
          }
          sampling.temperature = 1e6;
          CHECK(token(sample, {0, 0}, sampling, 0.6) == 1);
          sampling.temperature = 1;
          CHECK(token(sample, {-huge, huge, -huge}, sampling, 0) == 1);
          CHECK(token(sample, {-huge, huge, -huge}, sampling, 0.999) == 1);
        }
      }
    });
  }

  TEST_CASE("all orders of steps agree with the naive form, with options and logits at random") {
    std::mt19937 random(11);
    std::array<SamplingStep, 5> order = first_steps();
    int orders = 0;
    int wrong = 0;
    do {
      ++orders;
      for (const std::size_t size : {1U, 2U, 15U, 16U, 17U, 63U, 64U, 65U, 300U}) {
        for (int i = 0; i < 6; ++i) {
          Sampling sampling = random_sampling(random);
          sampling.order = order;
          const Logits logits = random_logits(random, size, one_of(random, {0.0F, 1.0F, 4.0F}), i % 2 == 0);
          const TokenCounts counts = random_counts(random, size);
          const double number = wkv::uniform(1, random());
          wrong += agree(logits, sampling, counts, number) ? 0 : 1;
        }
      }
    } while (std::next_permutation(order.begin(), order.end()));
    CHECK(orders == 120);
    CHECK(wrong == 0);
  }

  TEST_CASE("a large vocabulary agrees with the naive form, however many tokens remain") {
    std::mt19937 random(12);
    int wrong = 0;
    for (int i = 0; i < 60; ++i) {
      Sampling sampling = i % 2 == 0 ? Sampling{} : random_sampling(random);
      sampling.top_k = one_of<std::uint32_t>(random, {0, 0, 40, 3000});
      std::shuffle(sampling.order.begin(), sampling.order.end(), random);
      // From a few tokens to nearly all; the last two make equals, and buckets that hold everything.
      const float deviation = one_of(random, {6.0F, 3.0F, 2.0F, 1.0F, 0.001F});
      const Logits logits = random_logits(random, 65536, deviation, i % 5 == 4);
      const TokenCounts counts = random_counts(random, 3000);
      const double number = wkv::uniform(2, random());
      CAPTURE(i);
      wrong += agree(logits, sampling, counts, number) ? 0 : 1;
    }
    CHECK(wrong == 0);
  }

  TEST_CASE("of a large vocabulary forbidden tokens are not drawn, though all others remain") {
    Logits logits(65536, 0);
    Sampling sampling = plain();
    Ids forbidden;
    for (std::uint32_t id = 0; id < 65536; ++id) {
      if (id != 30000 && id != 30002) forbidden.push_back(id);
    }
    sampling.forbidden = set_of(forbidden);
    CHECK(token(wkv::sample, logits, sampling, 0) == 30000);
    CHECK(token(wkv::sample, logits, sampling, 0.499) == 30000);
    CHECK(token(wkv::sample, logits, sampling, 0.501) == 30002);
    CHECK(token(wkv::sample, logits, sampling, 0x1.fffffffffffffp-1) == 30002);
  }

  TEST_CASE("threads draw at the same time, and alike whether or not they flush denormals") {
    std::mt19937 random(13);
    const Logits logits = random_logits(random, 65536, 2, false);
    const auto draw = [&] {
      Ids tokens;
      for (std::uint64_t i = 0; i < 40; ++i) {
        Sampling sampling;
        sampling.top_p = i % 2 == 0 ? 0.85 : 1;
        tokens.push_back(token(wkv::sample, logits, sampling, wkv::uniform(3, i)));
      }
      return tokens;
    };
    const Ids expected = draw();
    std::array<Ids, 4> found;
    {
      std::vector<std::thread> threads;
      for (Ids& tokens : found) {
        threads.emplace_back([&] {
          wkv::flush_denormals();
          tokens = draw();
        });
      }
      for (std::thread& thread : threads) thread.join();
    }
    for (const Ids& tokens : found) CHECK(tokens == expected);
  }

  TEST_CASE("logits that are denormal are zeros, on threads that flush denormals and on others") {
    const Logits logits{1e-40F, 2e-40F, -1};
    for (const double temperature : {0.0, 1.0}) {
      const Sampling sampling{.temperature = temperature, .top_p = 0};
      const std::uint32_t here = token(wkv::sample, logits, sampling, 0.9);
      CHECK(here == (temperature > 0 ? 1 : 0));
      const wkv::FlushDenormals flush;
      CHECK(token(wkv::sample, logits, sampling, 0.9) == here);
    }
  }
}
