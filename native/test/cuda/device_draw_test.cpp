// Generating on the simulated GPU: what its steps draw, and where the logits are.

#include <doctest/doctest.h>

#include <limits>
#include <numeric>

#include "backend/cuda/api.h"
#include "engine/cuda_draw.h"
#include "engine/cuda_network.h"
#include "test/cuda/random_weights.h"
#include "test/support/calls.h"

extern "C" const WkvCudaApi* wkv_cuda_api(uint32_t version);

using wkv::Engine;
using wkv::Output;
using wkv::Sampling;
using wkv::SamplingStep;
using wkv::SessionState;
using wkv::test::Call;
using wkv::test::evaluate;
using wkv::test::fresh_state;
using wkv::test::RandomWeights;
using Tokens = std::vector<std::uint32_t>;

namespace {

// The same one while anybody has it.
std::shared_ptr<const wkv::Network> network() {
  static std::weak_ptr<const wkv::Network> made;
  auto network = made.lock();
  if (network == nullptr) {
    const RandomWeights random({.layers = 1, .channels = 40, .heads = 2, .head_size = 16, .feed_forward = 70},
                               3);
    network = wkv::test::on_gpu(random, *wkv_cuda_api(WKV_CUDA_API_VERSION), 64e-5F);
    made = network;
  }
  return network;
}

Call prepare(SessionState state, Tokens tokens, const Sampling& sampling, bool generated) {
  Call call = wkv::test::prepare(std::move(state), std::move(tokens), Output::kNone);
  call.evaluation->generation = std::make_shared<const wkv::Generation>(wkv::Generation{sampling});
  call.evaluation->generated = generated;
  call.evaluation->draw = true;
  return call;
}

std::shared_ptr<wkv::Evaluation> run(Engine& engine, Call call) {
  engine.submit(call.evaluation);
  call.done.wait();
  return call.evaluation;
}

SessionState seeded(std::uint64_t seed) {
  SessionState state = fresh_state(*network());
  state.seed = seed;
  return state;
}

wkv::TokenSet all_tokens() {
  auto ids = std::make_shared<Tokens>(101);
  std::iota(ids->begin(), ids->end(), 0U);
  return ids;
}

// The tokens of a generation. With log-probabilities to report, which the GPU leaves to the host, `on_host`.
Tokens generated(Engine& engine, Sampling sampling, bool on_host) {
  sampling.logprobs = on_host ? 1 : 0;
  Tokens tokens;
  auto last = run(engine, prepare(seeded(9), {1, 2, 3}, sampling, false));
  for (int i = 0; i < 10; ++i) {
    CHECK(last->state.logits_on_device == !on_host);
    tokens.push_back(last->drawn.token);
    last = run(engine, prepare(std::move(last->state), {tokens.back()}, sampling, true));
  }
  return tokens;
}

}  // namespace

TEST_SUITE("draws of a step") {
  TEST_CASE("a generation has the tokens that the host draws from the same logits") {
    Engine engine(network(), 1, 4);
    std::vector<Sampling> all(6);
    all[1] = {.temperature = 0, .presence_penalty = 3, .frequency_penalty = 1};
    all[2] = {.temperature = 2.5, .top_p = 1, .top_k = 20, .penalty_decay = 0.5};
    all[3] = {.temperature = 0.7, .top_p = 0.95, .min_p = 0.01};
    all[3].exempt = std::make_shared<const Tokens>(Tokens{1, 5, 60});
    all[4] = {.temperature = 3, .top_p = 1};
    all[4].bias = std::make_shared<const std::vector<wkv::TokenBias>>(std::vector<wkv::TokenBias>{
        {3, 2}, {50, -std::numeric_limits<float>::infinity()}, {101, 50}, {999, 1}});
    all[5] = {.temperature = 3};
    all[5].forbidden = std::make_shared<const Tokens>(Tokens{0, 7, 100, 101, 70'000});
    for (const Sampling& sampling : all) {
      CAPTURE(&sampling - all.data());
      CHECK(generated(engine, sampling, false) == generated(engine, sampling, true));
    }
  }

  TEST_CASE("the last logits are there when somebody asks, also of a copy after the session has gone on") {
    Engine engine(network(), 1, 4);
    const auto expected = evaluate(engine, seeded(9), {1, 2, 3})->values;
    const auto drawn = evaluate(engine, seeded(9), {1, 2, 3}, Output::kNone, Sampling{});
    REQUIRE(drawn->state.logits_on_device);
    CHECK(drawn->state.logits == nullptr);
    CHECK(drawn->state.has_logits());
    const SessionState before = drawn->state;
    const auto more = run(engine, prepare(drawn->state, {4}, Sampling{}, true));
    CHECK(*before.last_logits() == expected);
    CHECK(*more->state.last_logits() != expected);
    CHECK(evaluate(engine, before, {})->values == expected);
    CHECK(evaluate(engine, before, {}, Output::kNone, Sampling{})->drawn.token == drawn->drawn.token);
    CHECK(*wkv::deserialize(wkv::serialize(before, wkv::StatePrecision::kF32)).last_logits() == expected);
    const auto scores = evaluate(engine, before, {7, 8}, Output::kScores)->values;
    const auto host =
        evaluate(engine, evaluate(engine, seeded(9), {1, 2, 3})->state, {7, 8}, Output::kScores);
    CHECK(scores == host->values);
    SessionState packed = before;
    packed.pack(engine.network());
    CHECK(packed.logits_on_device);
    CHECK(*packed.last_logits() == expected);
    packed.unshare();
    CHECK(!packed.logits_on_device);
    CHECK(*packed.logits == expected);
    // Without a draw they come to the host again.
    const auto plain = evaluate(engine, before, {4});
    CHECK(!plain->state.logits_on_device);
    CHECK(*plain->state.logits == *more->state.last_logits());
  }

  TEST_CASE("draws and logits share a step of more rows than are computed at once") {
    Engine engine(network(), 1, 512);
    std::vector<Call> calls;
    std::vector<std::uint32_t> expected;
    for (std::uint64_t i = 0; i < 80; ++i) {
      const Tokens tokens{static_cast<std::uint32_t>(i)};
      Sampling sampling;
      sampling.logprobs = i % 5 == 0 ? 1 : 0;
      calls.push_back(prepare(seeded(i), tokens, sampling, false));
      expected.push_back(
          wkv::sample(evaluate(engine, seeded(i), tokens)->values, sampling, {}, wkv::uniform(i, 0))->token);
    }
    std::vector<std::shared_ptr<wkv::Evaluation>> together;
    for (const Call& call : calls) together.push_back(call.evaluation);
    const std::uint64_t steps = engine.statistics().steps;
    engine.submit(together);
    for (Call& call : calls) call.done.wait();
    CHECK(engine.statistics().steps == steps + 1);
    std::vector<std::uint32_t> actual;
    for (const auto& each : together) actual.push_back(each->drawn.token);
    CHECK(actual == expected);
  }

  TEST_CASE("where there is nothing to draw it says so, and the token is evaluated all the same") {
    Engine engine(network(), 1, 4);
    const auto first = run(engine, prepare(seeded(1), {1}, Sampling{}, false));
    Sampling sampling;
    sampling.forbidden = all_tokens();
    Call call = prepare(first->state, {2}, sampling, true);
    call.evaluation->abandonable = false;
    const auto failed = run(engine, std::move(call));
    REQUIRE(failed->error.has_value());
    CHECK(failed->error->code == "ERR_WKV_STATE");
    CHECK(failed->state.draws == 1);
    CHECK(failed->state.generation.entries().size() == 1);
    CHECK(*failed->state.last_logits() == evaluate(engine, first->state, {2})->values);
  }

  TEST_CASE("what the GPU does not cover the host draws") {
    const auto covers = [](auto change) {
      Sampling sampling;
      std::size_t counted = 100;
      int vocabulary = 65'536;
      change(sampling, counted, vocabulary);
      return wkv::CudaDraw::covers(sampling, counted, vocabulary);
    };
    CHECK(covers([](Sampling&, std::size_t&, int&) {}));
    CHECK(!covers([](Sampling& s, std::size_t&, int&) { s.typical_p = 0.9; }));
    CHECK(!covers([](Sampling& s, std::size_t&, int&) { s.logprobs = 1; }));
    CHECK(
        !covers([](Sampling& s, std::size_t&, int&) { s.mask = std::make_shared<const Tokens>(Tokens{1}); }));
    CHECK(!covers([](Sampling& s, std::size_t&, int&) { s.temperature = 1e300; }));
    CHECK(!covers([](Sampling& s, std::size_t&, int&) { std::swap(s.order[0], s.order[4]); }));
    CHECK(!covers([](Sampling&, std::size_t& counted, int&) { counted = 4097; }));
    CHECK(
        !covers([](Sampling& s, std::size_t&, int&) { s.forbidden = std::make_shared<const Tokens>(4097); }));
    CHECK(!covers([](Sampling&, std::size_t&, int& vocabulary) { vocabulary = 2'000'000; }));
    Engine engine(network(), 1, 4);
    Sampling sampling;
    sampling.typical_p = 0.5;
    const auto drawn = run(engine, prepare(seeded(5), {1, 2}, sampling, false));
    CHECK(!drawn->state.logits_on_device);
    CHECK(drawn->drawn.token == wkv::sample(*drawn->state.logits, sampling, {}, wkv::uniform(5, 0))->token);
    // Nor where somebody wants the logits anyway.
    const auto asked = evaluate(engine, seeded(5), {1, 2}, Output::kLast, Sampling{});
    CHECK(asked->values == *drawn->state.logits);
    CHECK(!asked->state.logits_on_device);
  }
}
