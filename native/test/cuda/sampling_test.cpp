// What the kernel that draws does, by hand and beside the host's sampler. Many more draws: draws_test.cpp.

#include <doctest/doctest.h>

#include <string>

#include "test/cuda/drawing.h"
#include "test/support/sampling.h"

using wkv::Sampling;
using wkv::TokenCounts;
using wkv::test::DrawCase;
using wkv::test::Floats;
using wkv::test::logs;
using wkv::test::plain;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kLast = 0x1.fffffffffffffp-1;  // the last random number

std::vector<std::int32_t> drawn(const std::vector<DrawCase>& cases) {
  return wkv::test::draw_on_device(cases).tokens;
}

// Of the same draw with these random numbers.
std::vector<std::int32_t> drawn(const DrawCase& each, std::initializer_list<double> numbers) {
  std::vector<DrawCase> cases;
  for (const double number : numbers) {
    cases.push_back(each);
    cases.back().random = number;
  }
  return drawn(cases);
}

using Tokens = std::vector<std::int32_t>;

}  // namespace

TEST_SUITE("CUDA sampling") {
  TEST_CASE("tokens lie in ascending order, each as wide as its probability, and the logits are kept") {
    wkv::test::in_every_order([](const std::string& order) {
      CAPTURE(order);
      const DrawCase each{logs({1.0 / 8, 1.0 / 2, 1.0 / 4, 1.0 / 8}), plain(), {}, 0};
      CHECK(drawn(each, {0, 0.124, 0.126, 0.624, 0.626, 0.876, kLast}) == Tokens{0, 0, 1, 1, 2, 3, 3});
      DrawCase bent = each;
      bent.counts = TokenCounts::from({{1, 2}});
      bent.sampling.forbidden = std::make_shared<const std::vector<std::uint32_t>>(1, 2U);
      CHECK(wkv::test::draw_on_device({bent, each}).kept == std::vector<Floats>{bent.logits, each.logits});
    });
  }

  TEST_CASE("each step narrows what the one before it left") {
    const Floats logits = logs({0.4, 0.2, 0.2, 0.1, 0.1});
    const auto last_of = [&](double top_p, std::uint32_t top_k, double min_p) {
      DrawCase each{logits, plain(), {}, 0};
      each.sampling.top_p = top_p;
      each.sampling.top_k = top_k;
      each.sampling.min_p = min_p;
      return drawn(each, {kLast}).front();
    };
    CHECK(last_of(0, 0, 0) == 0);
    CHECK(last_of(0.39, 0, 0) == 0);
    CHECK(last_of(0.41, 0, 0) == 2);  // 0.4 + 0.2 suffices, but 1 and 2 are equal
    CHECK(last_of(0.81, 0, 0) == 4);
    CHECK(last_of(1, 2, 0) == 1);  // of equals the lower ids
    CHECK(last_of(1, 4, 0) == 3);
    CHECK(last_of(1, 5, 0) == 4);
    CHECK(last_of(1, 0, 0.24) == 4);
    CHECK(last_of(1, 0, 0.26) == 2);
    CHECK(last_of(1, 0, 0.51) == 0);
    CHECK(last_of(0.41, 2, 0) == 1);
    CHECK(last_of(0.81, 4, 0.26) == 2);
  }

  TEST_CASE("at temperature 0 the most probable token is drawn, of equals the first") {
    std::vector<DrawCase> cases(3, {Floats(300, -1), plain(), {}, 0.9});
    for (DrawCase& each : cases) each.sampling.temperature = 0;
    cases[0].logits[299] = cases[0].logits[256] = 0;
    cases[1].logits[299] = 0;
    CHECK(drawn(cases) == Tokens{256, 299, 0});
  }

  TEST_CASE("penalties, biases and forbidden tokens change the logits") {
    DrawCase each{{3, 2.49F, 0}, plain(), TokenCounts::from({{0, 0}, {7, 100}}), 0};
    each.sampling.temperature = 0;
    each.sampling.presence_penalty = 0.5;
    each.sampling.frequency_penalty = 0.25;
    DrawCase other = each;
    other.logits[1] = 2.51F;
    CHECK(drawn({each, other}) == Tokens{0, 1});
    each.counts = other.counts = TokenCounts::from({{0, 4}});  // 3 - 0.5 - 4 * 0.25
    each.logits[1] = 1.49F;
    other.logits[1] = 1.51F;
    CHECK(drawn({each, other}) == Tokens{0, 1});
    each.sampling.bias = std::make_shared<const std::vector<wkv::TokenBias>>(
        std::vector<wkv::TokenBias>{{0, -0.02F}, {1, -kInfinity}, {2, 1.47F}, {9, 100}});
    other.sampling.bias = std::make_shared<const std::vector<wkv::TokenBias>>(
        std::vector<wkv::TokenBias>{{0, -0.02F}, {1, -kInfinity}, {2, 1.49F}});
    CHECK(drawn({each, other}) == Tokens{0, 2});
    each.sampling.forbidden = std::make_shared<const std::vector<std::uint32_t>>(1, 0U);
    CHECK(drawn({each}) == Tokens{2});
  }

  TEST_CASE("there is nothing to draw where a logit is not finite, or everything is forbidden") {
    for (const double temperature : {0.0, 1.0}) {
      const auto set = std::make_shared<const std::vector<std::uint32_t>>(std::vector<std::uint32_t>{5, 39});
      std::vector<DrawCase> cases;
      for (const std::size_t place : {0U, 5U, 31U, 32U, 39U}) {
        for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity}) {
          cases.push_back({Floats(40, 1), {}, {}, 0.5});
          cases.back().logits[place] = wrong;
        }
        for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), kInfinity}) {
          cases.push_back({Floats(40, 1), {}, {}, 0.5});
          cases.back().sampling.bias = std::make_shared<const std::vector<wkv::TokenBias>>(
              std::vector<wkv::TokenBias>{{static_cast<std::uint32_t>(place), wrong}});
        }
      }
      for (DrawCase& each : cases) each.sampling.forbidden = set;
      std::vector<std::uint32_t> all(40);
      for (std::uint32_t i = 0; i < 40; ++i) all[i] = i;
      cases.push_back({Floats(40, 1), {}, {}, 0.5});
      cases.back().sampling.forbidden = std::make_shared<const std::vector<std::uint32_t>>(all);
      for (DrawCase& each : cases) each.sampling.temperature = temperature;
      CHECK(drawn(cases) == Tokens(cases.size(), -1));
    }
  }

  TEST_CASE("huge and tiny logits, equal but for rounding, signs of zero") {
    const float huge = std::numeric_limits<float>::max();
    for (const Floats& logits :
         {Floats{-huge, huge, -huge}, Floats{-0.0F, 0, -0.0F}, Floats{10, 1e-9F, 2e-9F, -1e-9F, 0},
          Floats{1000, 999.99994F, 1e-9F, 999.99994F}, Floats{huge, 1, 2, huge}}) {
      for (const double temperature : {1.0, 1e6}) {
        std::vector<DrawCase> cases;
        for (const std::uint32_t top_k : {0U, 1U, 2U, 3U}) {
          for (const double top_p : {0.0, 0.9, 0.99999, 1.0}) {
            for (const double random : {0.0, kLast}) {
              cases.push_back({logits, plain(), {}, random});
              cases.back().sampling.temperature = temperature;
              cases.back().sampling.top_k = top_k;
              cases.back().sampling.top_p = top_p;
            }
          }
        }
        CHECK(wkv::test::difference_to_host(cases) == "");
      }
    }
  }

  TEST_CASE("zeros are found where denormal numbers are 0") {
    wkv::test::on_engine_thread([] {
      std::vector<DrawCase> cases;
      for (const Floats& logits :
           {Floats{0, 0, -1, 0, 0}, Floats{-2, 0, -1, -1, -2}, Floats{1, 0, 0, 0, -1}}) {
        for (const std::uint32_t top_k : {0U, 2U, 3U}) {
          for (const double top_p : {0.5, 0.9, 1.0}) {
            for (const double random : {0.0, 0.5, kLast}) {
              cases.push_back({logits, plain(), {}, random});
              cases.back().sampling.top_k = top_k;
              cases.back().sampling.top_p = top_p;
            }
          }
        }
      }
      CHECK(wkv::test::difference_to_host(cases) == "");
    });
  }

  TEST_CASE("the token is the host's in every order of threads, also where the search is for one of many") {
    wkv::test::in_every_order([](const std::string& order) {
      CAPTURE(order);
      std::mt19937 random(31);
      for (const std::size_t vocabulary : {31U, 257U}) {
        std::vector<DrawCase> cases;
        for (int i = 0; i < 12; ++i) cases.push_back(wkv::test::random_case(random, vocabulary));
        CHECK(wkv::test::difference_to_host(cases) == "");
      }
      // More tokens than are listed, or than the host has in double precision.
      std::vector<DrawCase> cases(3, {wkv::test::random_floats(random, 4'200), plain(), {}, 0.7});
      cases[0].sampling.top_k = 2'060;
      cases[1].sampling.top_p = 0.99;
      cases[2].sampling.temperature = 0.9;
      CHECK(wkv::test::difference_to_host(cases) == "");
    });
  }
}
