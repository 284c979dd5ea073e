// The log-probabilities of what is drawn.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>

#include "engine/sampler.h"
#include "test/support/sampling.h"

using wkv::Sampling;
using wkv::test::bias_of;
using wkv::test::for_both;
using wkv::test::Logits;
using wkv::test::logs;
using wkv::test::random_logits;
using wkv::test::Sample;

TEST_SUITE("log-probabilities") {
  TEST_CASE("they are those of the model, before any option, and the most probable come first") {
    for_both([](Sample sample) {
      const Logits logits = logs({0.1, 0.2, 0.4, 0.2, 0.1});
      Sampling sampling;
      sampling.temperature = 0;
      sampling.logprobs = 4;
      sampling.bias = bias_of({{3, 10}});
      const wkv::Drawn drawn = sample(logits, sampling, {}, 0).value();
      CHECK(drawn.token == 3);
      // The logits are floats: 2^-24 of 2.3.
      const auto log = [](double p) { return doctest::Approx(std::log(p)).epsilon(2e-7); };
      CHECK(drawn.logprob == log(0.2));
      REQUIRE(drawn.top.size() == 4);
      CHECK(drawn.top[0].token == 2);
      CHECK(drawn.top[0].logprob == log(0.4));
      CHECK(drawn.top[1].token == 1);
      CHECK(drawn.top[2].token == 3);
      CHECK(drawn.top[3].token == 0);
      CHECK(drawn.top[3].logprob == log(0.1));
    });
  }

  TEST_CASE("they are left out where nobody asks, and no more than there are tokens") {
    for_both([](Sample sample) {
      Sampling sampling;
      CHECK(sample(Logits{1, 2}, sampling, {}, 0)->top.empty());
      sampling.logprobs = 1000;
      CHECK(sample(Logits{1, 2}, sampling, {}, 0)->top.size() == 2);
    });
  }

  TEST_CASE("they agree with the naive form, and all probabilities are 1 together") {
    std::mt19937 random(14);
    for (const std::size_t size : {1U, 2U, 15U, 16U, 17U, 300U, 65536U}) {
      CAPTURE(size);
      Sampling sampling;
      const Logits logits = random_logits(random, size, 3, size == 300);
      for (const std::uint32_t logprobs : {1U, 5U, 20U, static_cast<std::uint32_t>(size)}) {
        sampling.logprobs = logprobs;
        const wkv::Drawn expected = wkv::reference::sample(logits, sampling, {}, 0.5).value();
        const wkv::Drawn drawn = wkv::sample(logits, sampling, {}, 0.5).value();
        // The sum of weights in single precision is good to 1e-6.
        CHECK(std::abs(drawn.logprob - expected.logprob) < 1e-6);
        REQUIRE(drawn.top.size() == expected.top.size());
        double sum = 0;
        int wrong = 0;
        for (std::size_t i = 0; i < drawn.top.size(); ++i) {
          sum += std::exp(drawn.top[i].logprob);
          wrong += drawn.top[i].token != expected.top[i].token ||
                   std::abs(drawn.top[i].logprob - expected.top[i].logprob) > 1e-6;
        }
        CHECK(wrong == 0);
        if (logprobs == size) CHECK(sum == doctest::Approx(1).epsilon(1e-6));
      }
    }
  }
}
