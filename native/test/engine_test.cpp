#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "test/support/calls.h"
#include "test/support/sum_network.h"

using wkv::Engine;
using wkv::Output;
using wkv::SessionState;
using wkv::test::Call;
using wkv::test::evaluate;
using wkv::test::fresh_state;
using wkv::test::prepare;
using wkv::test::SumNetwork;
using Tokens = std::vector<std::uint32_t>;

namespace {

float sum_of(const SessionState& state) { return *state.numbers->floats(); }

constexpr std::chrono::seconds kLong{20};

bool is_done(Call& call) { return call.done.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

// A model whose first step fails, for a reason that is none of the library's own.
class FailingNetwork final : public wkv::Network {
 public:
  const wkv::ModelInfo& info() const override { return sum_.info(); }
  std::unique_ptr<wkv::Workspace> create_workspace(unsigned lanes) const override {
    return sum_.create_workspace(lanes);
  }
  void initialize(float* state) const override { sum_.initialize(state); }
  bool step(std::span<const wkv::Segment> segments, wkv::Workspace& workspace, wkv::ThreadPool& pool,
            unsigned lanes, const wkv::LogitsSink& sink, const wkv::Abandon& abandon) const override {
    if (!std::exchange(failed_, true)) throw std::runtime_error("no thread");
    return sum_.step(segments, workspace, pool, lanes, sink, abandon);
  }

 private:
  SumNetwork sum_;
  mutable bool failed_ = false;
};

}  // namespace

TEST_SUITE("engine") {
  TEST_CASE("a prompt longer than a step is cut into steps, and counted") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    const auto result = evaluate(engine, fresh_state(*network), Tokens(300, 1));
    CHECK(sum_of(result->state) == 300);
    CHECK(result->values == std::vector<float>{300, 301, 302, 303});
    CHECK(*result->state.logits == result->values);
    CHECK(result->state.tokens == 300);
    CHECK(result->evaluated.load() == 300);  // by all steps together
    CHECK(network->steps() == std::vector<std::vector<std::size_t>>{{128}, {128}, {44}});
  }

  TEST_CASE("sessions share a step; what short ones leave goes to long ones") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    network->hold();
    Call first = prepare(fresh_state(*network), {1, 1});
    engine.submit(first.evaluation);
    network->wait_for_steps(1);
    // These arrive while the first step is under way.
    std::vector<Call> calls;
    for (const std::size_t size : {2U, 500U, 10U, 500U})
      calls.push_back(prepare(fresh_state(*network), Tokens(size, 1)));
    for (Call& call : calls) engine.submit(call.evaluation);
    network->release();
    for (Call& call : calls) call.done.wait();
    const auto steps = network->steps();
    CHECK(steps[0] == std::vector<std::size_t>{2});
    CHECK(steps[1] == std::vector<std::size_t>{2, 58, 10, 58});
    CHECK(steps[2] == std::vector<std::size_t>{64, 64});
    std::size_t tokens = 0;
    for (const auto& step : steps) tokens += std::accumulate(step.begin(), step.end(), std::size_t{0});
    CHECK(tokens == 2 + 2 + 500 + 10 + 500);
    CHECK(sum_of(calls[1].evaluation->state) == 500);
  }

  TEST_CASE("with one session a step, sessions take turns") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 1);
    network->hold();
    Call first = prepare(fresh_state(*network), Tokens(384, 1));
    engine.submit(first.evaluation);
    network->wait_for_steps(1);
    Call second = prepare(fresh_state(*network), Tokens(3, 1));
    engine.submit(second.evaluation);
    network->release();
    first.done.wait();
    second.done.wait();
    CHECK(network->steps() == std::vector<std::vector<std::size_t>>{{128}, {128}, {3}, {128}});
  }

  TEST_CASE("a call takes numbers of its own when its turn has come, not while it waits") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 1);
    const SessionState shared = fresh_state(*network);
    std::vector<Call> calls;
    std::vector<std::shared_ptr<wkv::Evaluation>> evaluations;
    for (std::uint32_t token = 1; token <= 4; ++token) {
      calls.push_back(prepare(shared, {token}, Output::kAll));
      evaluations.push_back(calls.back().evaluation);
    }
    network->hold();
    engine.submit(evaluations);
    network->wait_for_steps(1);
    CHECK(evaluations[0]->state.numbers != shared.numbers);
    for (std::size_t i = 1; i < calls.size(); ++i) {
      CHECK(evaluations[i]->state.numbers == shared.numbers);
      CHECK(evaluations[i]->values.empty());
    }
    network->release();
    for (std::size_t i = 0; i < calls.size(); ++i) {
      calls[i].done.wait();
      CHECK(sum_of(evaluations[i]->state) == static_cast<float>(i + 1));
    }
    CHECK(sum_of(shared) == 0);
  }

  TEST_CASE("serves more sessions than a step has tokens") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 100'000);
    std::vector<Call> calls;
    for (std::uint32_t i = 0; i < 300; ++i) calls.push_back(prepare(fresh_state(*network), {i, 1}));
    for (Call& call : calls) engine.submit(call.evaluation);
    for (Call& call : calls) call.done.wait();
    for (std::size_t i = 0; i < calls.size(); ++i) {
      CHECK(sum_of(calls[i].evaluation->state) == static_cast<float>(i + 1));
    }
  }

  TEST_CASE("nothing to evaluate gives the last logits, if there are any, without a step") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    const auto nothing = evaluate(engine, fresh_state(*network), {});
    CHECK(nothing->values.empty());
    CHECK(!nothing->error);
    CHECK(nothing->state.logits == nullptr);
    const auto some = evaluate(engine, fresh_state(*network), {5});
    CHECK(evaluate(engine, some->state, {})->values == some->values);
    CHECK(evaluate(engine, some->state, {}, Output::kAll)->values.empty());
    CHECK(evaluate(engine, some->state, {}, Output::kScores)->values.empty());
    CHECK(network->steps().size() == 1);
  }

  TEST_CASE("draws with the session's random number, which only a generated token uses up") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    SessionState state = fresh_state(*network);
    state.seed = 42;
    const wkv::Sampling sampling{.temperature = 1, .top_p = 1};
    const auto expected = [&](float sum, std::uint64_t draw) {
      return wkv::sample(std::vector<float>{sum, sum + 1, sum + 2, sum + 3}, sampling, {},
                         wkv::uniform(42, draw))
          ->token;
    };
    const auto one = evaluate(engine, state, {1}, Output::kNone, sampling);
    CHECK(one->drawn.token == expected(1, 0));
    CHECK(one->state.draws == 0);
    CHECK(evaluate(engine, one->state, {}, Output::kNone, sampling)->drawn.token == expected(1, 0));
    for (std::uint64_t draw = 1; draw < 40; ++draw) {
      Call call = prepare(one->state, {0}, Output::kNone);
      call.evaluation->state.draws = draw - 1;
      call.evaluation->generation = std::make_shared<const wkv::Generation>(wkv::Generation{sampling});
      call.evaluation->generated = true;
      call.evaluation->draw = true;
      engine.submit(call.evaluation);
      call.done.wait();
      CHECK(call.evaluation->state.draws == draw);
      REQUIRE(call.evaluation->state.generation.entries().size() == 1);
      CHECK(call.evaluation->state.generation.entries()[0].token == 0);
    }
  }

  TEST_CASE("counts what is generated in the generation's counts or in the session's") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    for (const bool session_counts : {false, true}) {
      Call call = prepare(fresh_state(*network), {3, 1, 3}, Output::kNone);
      call.evaluation->generation = std::make_shared<const wkv::Generation>(
          wkv::Generation{wkv::Sampling{.penalty_decay = 0.5}, session_counts});
      call.evaluation->generated = true;
      engine.submit(call.evaluation);
      call.done.wait();
      const SessionState& after = call.evaluation->state;
      const auto counted = (session_counts ? after.counts : after.generation).entries();
      CHECK((session_counts ? after.generation : after.counts).entries().empty());
      REQUIRE(counted.size() == 2);
      CHECK(counted[0].token == 1);
      CHECK(counted[0].count == 0.5);
      CHECK(counted[1].token == 3);
      CHECK(counted[1].count == 1.25);
    }
  }

  TEST_CASE("what is submitted together takes part in one step, and is delivered together") {
    const auto network = std::make_shared<SumNetwork>();
    std::atomic<int> deliveries{0};
    {
      Engine engine(network, 1, 8, [&] { ++deliveries; });
      std::vector<Call> calls;
      std::vector<std::shared_ptr<wkv::Evaluation>> evaluations;
      for (std::uint32_t i = 0; i < 6; ++i) {
        calls.push_back(prepare(fresh_state(*network), {i % 4}));
        evaluations.push_back(calls.back().evaluation);
      }
      engine.submit(evaluations);
      for (Call& call : calls) call.done.wait();
      CHECK(network->steps() == std::vector<std::vector<std::size_t>>{{1, 1, 1, 1, 1, 1}});
      CHECK(engine.statistics().steps == 1);
      CHECK(engine.statistics().sessions == 6);
      CHECK(engine.statistics().most == 6);
      CHECK(engine.statistics().tokens == 6);
    }
    CHECK(deliveries == 1);
  }

  TEST_CASE("a step in which somebody waits for a single token takes few tokens of prompts") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    std::vector<Call> calls;
    calls.push_back(prepare(fresh_state(*network), Tokens(300, 1)));
    calls.push_back(prepare(fresh_state(*network), {2}));
    engine.submit(std::vector{calls[0].evaluation, calls[1].evaluation});
    for (Call& call : calls) call.done.wait();
    const auto steps = network->steps();
    // And one step more, for whoever may be about to come with the next token.
    REQUIRE(steps.size() == 5);
    CHECK(steps[0] == std::vector<std::size_t>{16, 1});
    CHECK(steps[1] == std::vector<std::size_t>{16});
    CHECK(steps[2] == std::vector<std::size_t>{128});
  }

  TEST_CASE("beside single tokens prompts take turns, however many there are") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 128);
    // After its step the engine is held in the next.
    const auto single = [&] {
      Call call = prepare(fresh_state(*network), {1});
      call.evaluation->finished = [&network, finished = call.finished] {
        network->hold();
        finished->set_value();
      };
      return call;
    };
    std::vector<Call> calls;
    for (int i = 0; i < 63; ++i) calls.push_back(prepare(fresh_state(*network), Tokens(40, 1)));
    calls.push_back(single());
    std::vector<std::shared_ptr<wkv::Evaluation>> evaluations;
    for (const Call& call : calls) evaluations.push_back(call.evaluation);
    // How many of the prompts, the first ones, have had a token.
    const auto begun = [&] {
      const auto next = std::find_if(evaluations.begin(), evaluations.end(),
                                     [](const auto& call) { return call->state.tokens == 0; });
      for (auto call = evaluations.begin(); call != next; ++call) CHECK((*call)->state.tokens == 1);
      return next - evaluations.begin();
    };
    engine.submit(evaluations);
    evaluations.pop_back();
    network->wait_for_steps(2);
    CHECK(begun() == 16);
    calls.push_back(single());
    engine.submit(calls.back().evaluation);
    network->release();
    network->wait_for_steps(4);
    CHECK(begun() == 48);
    network->release();
    // However many single tokens come, the prompts come to their end.
    const auto is_over = [](const auto& call) { return call->state.tokens == 40; };
    SessionState state = fresh_state(*network);
    while (!std::all_of(calls.begin(), calls.end(), is_done)) state = evaluate(engine, state, {1})->state;
    CHECK(std::all_of(evaluations.begin(), evaluations.end(), is_over));
    const auto steps = network->steps();
    CHECK(steps[0] == std::vector<std::size_t>(17, 1));
    CHECK(steps[1] == std::vector<std::size_t>(16, 1));
    CHECK(steps[2] == std::vector<std::size_t>(17, 1));
  }

  TEST_CASE("drawing from a session that has seen nothing is an error, not a crash") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    const auto result = evaluate(engine, fresh_state(*network), {}, Output::kNone, wkv::Sampling{});
    REQUIRE(result->error);
    CHECK(result->error->code == "ERR_WKV_STATE");
  }

  TEST_CASE("drawing where there is nothing to draw says why") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    for (const float sum : {1.0F, std::numeric_limits<float>::infinity()}) {
      SessionState state = fresh_state(*network);
      *state.numbers->floats() = sum;
      wkv::Sampling sampling;
      if (std::isfinite(sum)) sampling.forbidden = std::make_shared<const Tokens>(Tokens{0, 1, 2, 3});
      const auto result = evaluate(engine, state, {1}, Output::kNone, sampling);
      REQUIRE(result->error);
      CHECK(result->error->code == "ERR_WKV_STATE");
      CHECK(result->error->message ==
            std::string("there is nothing to sample from: ") +
                (std::isfinite(sum) ? "no token is left that may be drawn" : "the logits are not finite"));
    }
  }

  TEST_CASE("whatever a step fails with is the error of its calls, and the next step goes on") {
    const auto network = std::make_shared<FailingNetwork>();
    Engine engine(network, 1, 8);
    const auto failed = evaluate(engine, fresh_state(*network), {1});
    REQUIRE(failed->error);
    CHECK(failed->error->code == "ERR_WKV_MEMORY");
    CHECK(failed->error->message.find("no thread") != std::string::npos);
    const auto next = evaluate(engine, fresh_state(*network), {2});
    CHECK(!next->error);
    CHECK(sum_of(next->state) == 2);
  }

  TEST_CASE("a call cancelled before its turn is never begun") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    network->hold();
    Call running = prepare(fresh_state(*network), {1});
    engine.submit(running.evaluation);
    network->wait_for_steps(1);
    Call waiting = prepare(fresh_state(*network), {2});
    waiting.evaluation->abandonable = false;  // may be cancelled all the same: nothing has been changed yet
    engine.submit(waiting.evaluation);
    engine.cancel(*waiting.evaluation);
    CHECK(!is_done(running));
    network->release();
    waiting.done.wait();
    running.done.wait();
    CHECK(waiting.evaluation->was_cancelled);
    CHECK(sum_of(waiting.evaluation->state) == 0);
    CHECK(!running.evaluation->was_cancelled);
    CHECK(network->steps().size() == 1);
  }

  TEST_CASE("a call cancelled while it runs leaves the step, if nobody else is in it") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    network->hold();
    Call call = prepare(fresh_state(*network), Tokens(1000, 1));
    engine.submit(call.evaluation);
    network->wait_for_steps(1);
    engine.cancel(*call.evaluation);
    CHECK(call.done.wait_for(kLong) == std::future_status::ready);  // though the step is still held
    network->release();
    CHECK(call.evaluation->was_cancelled);
    CHECK(sum_of(evaluate(engine, fresh_state(*network), {7})->state) == 7);
  }

  TEST_CASE("a call cancelled while others are in its step does not disturb them") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    network->hold();
    Call first = prepare(fresh_state(*network), {1});
    engine.submit(first.evaluation);
    network->wait_for_steps(1);
    Call cancelled = prepare(fresh_state(*network), Tokens(1000, 1));
    Call other = prepare(fresh_state(*network), Tokens(200, 1));
    engine.submit(cancelled.evaluation);
    engine.submit(other.evaluation);
    network->release();
    network->wait_for_steps(2);
    engine.cancel(*cancelled.evaluation);
    cancelled.done.wait();
    other.done.wait();
    CHECK(sum_of(other.evaluation->state) == 200);
    CHECK(!other.evaluation->was_cancelled);
  }

  TEST_CASE("a call that changes its numbers in place is finished once it is begun, cancelled or not") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    network->hold();
    Call call = prepare(fresh_state(*network), Tokens(200, 1));
    call.evaluation->abandonable = false;
    engine.submit(call.evaluation);
    network->wait_for_steps(1);
    engine.cancel(*call.evaluation);
    // The step asks every millisecond whether to go on. Abandoned, it would be begun again and again.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(network->steps().size() == 1);
    network->release();
    call.done.wait();
    CHECK(!call.evaluation->was_cancelled);
    CHECK(sum_of(call.evaluation->state) == 200);
    CHECK(network->steps() == std::vector<std::vector<std::size_t>>{{128}, {72}});
  }

  TEST_CASE("cancelling what is over does nothing") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    const auto over = evaluate(engine, fresh_state(*network), {1});
    engine.cancel(*over);
    CHECK(!over->was_cancelled);
    CHECK(sum_of(evaluate(engine, fresh_state(*network), {2})->state) == 2);
  }

  TEST_CASE("an engine that ends cancels what is pending, running or not, and finishes every call") {
    const auto network = std::make_shared<SumNetwork>();
    std::vector<Call> calls;
    {
      Engine engine(network, 1, 2);
      network->hold();
      for (int i = 0; i < 10; ++i) calls.push_back(prepare(fresh_state(*network), Tokens(1000, 1)));
      for (Call& call : calls) engine.submit(call.evaluation);
      network->wait_for_steps(1);
    }
    network->release();
    for (Call& call : calls) {
      REQUIRE(is_done(call));
      CHECK(call.evaluation->was_cancelled);
    }
  }

  TEST_CASE("an engine that ends at once has finished every call, whenever it was submitted") {
    const auto network = std::make_shared<SumNetwork>();
    int forgotten = 0;
    for (int i = 0; i < 3000; ++i) {
      Call call = prepare(fresh_state(*network), {1});
      {
        Engine engine(network, 1, 2);
        // Spread over the time that the thread takes to start.
        for (int wait = 0; wait < i % 50 * 40; ++wait) std::atomic_signal_fence(std::memory_order_seq_cst);
        engine.submit(call.evaluation);
      }
      forgotten += !is_done(call);
    }
    CHECK(forgotten == 0);
  }

  TEST_CASE("what a finished call holds is let go") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 1, 8);
    std::weak_ptr<wkv::Evaluation> gone;
    {
      // A closure that holds its own evaluation.
      Call call = prepare(fresh_state(*network), {1});
      call.evaluation->finished = [evaluation = call.evaluation, finished = call.finished] {
        finished->set_value();
      };
      gone = call.evaluation;
      engine.submit(call.evaluation);
      call.done.wait();
    }
    // The engine may still be about to drop its own reference.
    for (int i = 0; i < 1000 && !gone.expired(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    CHECK(gone.expired());
  }

  TEST_CASE("calls come from many threads at once") {
    const auto network = std::make_shared<SumNetwork>();
    Engine engine(network, 2, 16);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (std::uint32_t thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        SessionState state = fresh_state(*network);
        for (int i = 0; i < 200; ++i) state = evaluate(engine, state, {thread, 1})->state;
        wrong += sum_of(state) != static_cast<float>(200 * (thread + 1)) || state.tokens != 400;
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
  }
}
