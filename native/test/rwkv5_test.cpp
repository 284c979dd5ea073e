#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/weights_reader.h"
#include "test/support/calls.h"
#include "test/support/model_file.h"
#include "test/support/naive_rwkv5.h"
#include "test/support/numbers.h"

using wkv::Engine;
using wkv::Evaluation;
using wkv::Network;
using wkv::Output;
using wkv::Precision;
using wkv::SessionState;
using wkv::StoredType;
using wkv::test::Dimensions;
using wkv::test::evaluate;
using wkv::test::Floats;
using wkv::test::fresh_state;
using Tokens = std::vector<std::uint32_t>;

namespace {

std::shared_ptr<const Network> load(const wkv::test::Tensors& tensors, const wkv::LoadOptions& options = {}) {
  const wkv::test::TemporaryDirectory folder;
  const std::atomic<bool> go_on{false};
  return wkv::load_weights(wkv::test::write_tensors(folder.file("m"), tensors), options, 2, go_on, {})
      .network;
}

Tokens random_tokens(unsigned seed, std::size_t count, std::int64_t vocabulary) {
  std::mt19937 random(seed);
  Tokens tokens(count);
  for (std::uint32_t& token : tokens) {
    token = static_cast<std::uint32_t>(random() % static_cast<unsigned>(vocabulary));
  }
  return tokens;
}

Floats numbers_of(const SessionState& state) {
  return {state.numbers->floats(), state.numbers->floats() + state.layout.numbers()};
}

// The same logits, the same state.
std::string difference(const Evaluation& actual, const Evaluation& expected) {
  const std::string logits = wkv::test::bit_difference(*actual.state.logits, *expected.state.logits);
  return logits + wkv::test::bit_difference(numbers_of(actual.state), numbers_of(expected.state));
}

}  // namespace

TEST_SUITE("rwkv5") {
  TEST_CASE("logits and state are those of the equations, at every position, for odd shapes") {
    for (const Dimensions& d :
         {Dimensions{},
          Dimensions{.layers = 1, .embedding = 64, .heads = 1, .head_size = 64, .feed_forward = 224},
          Dimensions{
              .layers = 3, .embedding = 20, .heads = 3, .head_size = 8, .feed_forward = 33, .vocabulary = 70},
          Dimensions{
              .layers = 1, .embedding = 1, .heads = 1, .head_size = 1, .feed_forward = 1, .vocabulary = 2}}) {
      CAPTURE(d.embedding);
      const auto tensors = wkv::test::random_model(d, 1);
      const auto network = load(tensors);
      const Tokens tokens = random_tokens(1, 40, d.vocabulary);
      Engine engine(network, 2, 4);
      const auto result = evaluate(engine, fresh_state(*network), tokens, Output::kAll);
      wkv::test::NaiveRwkv5 naive(tensors, d);
      Floats expected;
      for (const std::uint32_t token : tokens) {
        const std::vector<double> logits = naive.step(token);
        for (const double logit : logits) expected.push_back(static_cast<float>(logit));
      }
      // The bound that the project promises for f32 weights: 1e-4 of logits of magnitude 10 or less.
      CHECK(wkv::test::beyond(result->values, expected, [](std::size_t) { return 1e-4; }) == "");
      Floats state;
      for (std::size_t layer = 0; layer < naive.wkv.size(); ++layer) {
        for (const auto* part : {&naive.att_x[layer], &naive.ffn_x[layer], &naive.wkv[layer]}) {
          for (const double number : *part) state.push_back(static_cast<float>(number));
        }
      }
      CHECK(wkv::test::beyond(numbers_of(result->state), state, [&](std::size_t i) {
              return 1e-4 * std::max(1.0, std::abs(static_cast<double>(state[i])));
            }) == "");
    }
  }

  TEST_CASE("16-bit weights compute with the rounded weights") {
    const Dimensions d;
    for (const StoredType type : {StoredType::kF16, StoredType::kBf16}) {
      auto rounded = wkv::test::random_model(d, 2, type);
      for (auto& [name, tensor] : rounded) {
        for (float& value : tensor.values) {
          value = type == StoredType::kF16 ? wkv::f16_to_f32(wkv::f32_to_f16(value))
                                           : wkv::bf16_to_f32(wkv::f32_to_bf16(value));
        }
      }
      const auto halves = load(rounded, {.weights = wkv::precision_of(type)});
      REQUIRE(halves->info().weights == wkv::precision_of(type));
      const auto floats = load(rounded, {.weights = wkv::Precision::kF32});
      const Tokens tokens = random_tokens(3, 30, d.vocabulary);
      Engine engine_of_halves(halves, 1, 1);
      Engine engine_of_floats(floats, 1, 1);
      CHECK(difference(*evaluate(engine_of_halves, fresh_state(*halves), tokens),
                       *evaluate(engine_of_floats, fresh_state(*floats), tokens)) == "");
    }
  }

  TEST_CASE("the group norm's epsilon is the model's") {
    const Dimensions d;
    const auto tensors = wkv::test::random_model(d, 4);
    const auto network = load(tensors, {.weights = {}, .group_norm_epsilon = 1e-2F});
    Engine engine(network, 1, 1);
    const auto result = evaluate(engine, fresh_state(*network), {1, 2, 3});
    wkv::test::NaiveRwkv5 naive(tensors, d, 1e-2);
    naive.step(1);
    naive.step(2);
    const std::vector<double> logits = naive.step(3);
    const Floats expected(logits.begin(), logits.end());
    CHECK(wkv::test::beyond(result->values, expected, [](std::size_t) { return 1e-4; }) == "");
  }

  TEST_CASE("the bits do not depend on chunks, on threads or on who else is served") {
    const Dimensions d{
        .layers = 2, .embedding = 72, .heads = 3, .head_size = 24, .feed_forward = 250, .vocabulary = 101};
    const Tokens tokens = random_tokens(6, 300, d.vocabulary);
    std::map<Precision, std::shared_ptr<Evaluation>> wholes;
    std::map<Precision, Floats> alls;
    for (const auto& setting : {std::pair{Precision::kBf16, 1U},
                                {Precision::kBf16, 2U},
                                {Precision::kBf16, 3U},
                                {Precision::kInt8, 1U},
                                {Precision::kInt8, 2U},
                                {Precision::kInt8, 3U}}) {
      const Precision precision = setting.first;
      const unsigned lanes = setting.second;
      CAPTURE(static_cast<int>(precision));
      CAPTURE(lanes);
      const auto network = load(wkv::test::random_model(d, 5, StoredType::kBf16), {.weights = precision});
      std::shared_ptr<Evaluation>& whole = wholes[precision];
      Floats& all = alls[precision];
      Engine engine(network, lanes, 16);
      const auto result = evaluate(engine, fresh_state(*network), tokens);
      CHECK(result->state.tokens == 300);
      if (whole == nullptr) whole = result;
      CHECK(difference(*result, *whole) == "");

      for (const std::vector<std::size_t>& chunks :
           {std::vector<std::size_t>(300, 1), {1, 299}, {128, 128, 44}, {97, 3, 200}}) {
        SessionState state = fresh_state(*network);
        std::shared_ptr<Evaluation> last;
        std::size_t at = 0;
        for (const std::size_t chunk : chunks) {
          const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(at);
          last = evaluate(engine, state, {begin, begin + static_cast<std::ptrdiff_t>(chunk)});
          state = last->state;
          at += chunk;
        }
        CHECK(difference(*last, *whole) == "");
      }

      // Nine others of all lengths at the same time.
      std::vector<wkv::test::Call> calls;
      for (unsigned other = 0; other < 10; ++other) {
        calls.push_back(other == 4 ? wkv::test::prepare(fresh_state(*network), tokens)
                                   : wkv::test::prepare(fresh_state(*network),
                                                        random_tokens(other, 1 + other * 37, 101),
                                                        static_cast<Output>(other % 4)));
      }
      for (auto& call : calls) engine.submit(call.evaluation);
      for (auto& call : calls) call.done.wait();
      CHECK(difference(*calls[4].evaluation, *whole) == "");

      const auto every = evaluate(engine, fresh_state(*network), tokens, Output::kAll);
      if (all.empty()) all = every->values;
      CHECK(wkv::test::bit_difference(every->values, all) == "");
      CHECK(difference(*every, *whole) == "");
    }
  }

  TEST_CASE("int8 is near f32, and exact where there is nothing to round") {
    const Dimensions d{
        .layers = 2, .embedding = 72, .heads = 3, .head_size = 24, .feed_forward = 250, .vocabulary = 101};
    const auto tensors = wkv::test::random_model(d, 11);
    const Tokens tokens = random_tokens(12, 60, d.vocabulary);
    const auto logits = [&](const wkv::test::Tensors& model, Precision precision) {
      const auto network = load(model, {.weights = precision});
      CHECK(network->info().weights == precision);
      Engine engine(network, 2, 2);
      return evaluate(engine, fresh_state(*network), tokens, Output::kAll)->values;
    };
    const Floats exact = logits(tensors, Precision::kF32);
    const Floats rounded = logits(tensors, Precision::kInt8);
    double squares = 0;
    double errors = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      squares += static_cast<double>(exact[i]) * static_cast<double>(exact[i]);
      errors += std::pow(static_cast<double>(exact[i]) - static_cast<double>(rounded[i]), 2);
    }
    CHECK(errors > 0);
    // Errors of up to a 254th of a group's largest number, in all matrices of two layers: some percent.
    CHECK(errors < squares * 0.05 * 0.05);

    // With matrices of zeros there is nothing to round.
    auto zeros = tensors;
    for (auto& [name, tensor] : zeros) {
      if (tensor.shape.size() == 2 && name.find("time_") == std::string::npos && name != "emb.weight") {
        std::fill(tensor.values.begin(), tensor.values.end(), 0.0F);
      }
    }
    CHECK(wkv::test::bit_difference(logits(zeros, Precision::kInt8), logits(zeros, Precision::kF32)) == "");
  }

  TEST_CASE("each kind of output is what it says") {
    const Dimensions d;
    const auto network = load(wkv::test::random_model(d, 7));
    const auto vocabulary = static_cast<std::size_t>(d.vocabulary);
    const Tokens tokens = random_tokens(8, 140, d.vocabulary);
    Engine engine(network, 2, 2);
    const auto all = evaluate(engine, fresh_state(*network), tokens, Output::kAll);
    REQUIRE(all->values.size() == 140 * vocabulary);
    const auto none = evaluate(engine, fresh_state(*network), tokens, Output::kNone);
    CHECK(none->values.empty());
    CHECK(difference(*none, *all) == "");
    const auto last = evaluate(engine, fresh_state(*network), tokens, Output::kLast);
    CHECK(last->values ==
          Floats(all->values.end() - static_cast<std::ptrdiff_t>(vocabulary), all->values.end()));

    const auto log_probability = [&](std::size_t position, std::uint32_t token) {
      const float* logits = all->values.data() + position * vocabulary;
      double sum = 0;
      for (std::size_t i = 0; i < vocabulary; ++i) sum += std::exp(static_cast<double>(logits[i]));
      return static_cast<double>(logits[token]) - std::log(sum);
    };
    const auto scores = evaluate(engine, fresh_state(*network), tokens, Output::kScores);
    REQUIRE(scores->values.size() == tokens.size());
    CHECK(std::isnan(scores->values[0]));
    for (std::size_t i = 1; i < tokens.size(); ++i) {
      // Logits below 10 in magnitude, 3 roundings of them and of e^x.
      CHECK(std::abs(static_cast<double>(scores->values[i]) - log_probability(i - 1, tokens[i])) < 1e-5);
    }
    // A session that has logits scores the first token, too.
    const auto more = evaluate(engine, all->state, {5, 6}, Output::kScores);
    CHECK(std::abs(static_cast<double>(more->values[0]) - log_probability(139, 5)) < 1e-5);
    CHECK(difference(*scores, *all) == "");
  }

  TEST_CASE("a call leaves the state that it began with alone") {
    const auto network = load(wkv::test::random_model({}, 9));
    Engine engine(network, 1, 4);
    const SessionState before = evaluate(engine, fresh_state(*network), {1, 2, 3})->state;
    const Floats numbers = numbers_of(before);
    const auto one = evaluate(engine, before, {4, 5});
    const auto two = evaluate(engine, before, {4, 5});
    CHECK(numbers_of(before) == numbers);
    CHECK(before.tokens == 3);
    CHECK(difference(*one, *two) == "");
    CHECK(one->state.tokens == 5);
  }
}
