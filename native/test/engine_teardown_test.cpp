#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "engine/weights_reader.h"
#include "test/support/calls.h"
#include "test/support/model_file.h"

// Engines that end at any moment, while other threads have them compute. Meant for ThreadSanitizer above all.

using wkv::Engine;
using wkv::Evaluation;
using wkv::Network;
using wkv::Output;
using wkv::SessionState;
using wkv::test::Call;
using wkv::test::fresh_state;
using Tokens = std::vector<std::uint32_t>;

namespace {

constexpr int kRounds = 200;
constexpr std::size_t kPrompts = 6;

std::shared_ptr<const Network> small_network() {
  const wkv::test::TemporaryDirectory folder;
  const std::atomic<bool> go_on{false};
  const auto tensors = wkv::test::random_model({}, 1);
  return wkv::load_weights(wkv::test::write_tensors(folder.file("m"), tensors), {}, 2, go_on, {}).network;
}

Tokens prompt(std::size_t number) {
  Tokens tokens(1 + number * number * 12);
  for (std::size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<std::uint32_t>((i * 7 + number) % 19);
  return tokens;
}

// How many microseconds until a thread does the next thing: often none, seldom many.
void wait_a_little(std::mt19937& random) {
  const auto microseconds = random() % 8 == 0 ? random() % 1000 : random() % 30;
  const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(microseconds);
  while (std::chrono::steady_clock::now() < until) std::this_thread::yield();
}

// One engine, which several threads use until one of them ends it, and the states that its calls leave.
class Life {
 public:
  Life(const std::shared_ptr<const Network>& network, const std::vector<std::vector<float>>& expected,
       unsigned lanes, std::size_t max_sessions)
      : expected_(expected), engine_(std::make_unique<Engine>(network, lanes, max_sessions)) {
    states_.push_back(fresh_state(*network));
  }

  // Submits and cancels until the engine has ended.
  void use(unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::shared_ptr<Evaluation>> mine;
    for (;;) {
      const std::size_t number = random() % kPrompts;
      // From the beginning, where the result is known, or from where another call ended, shared with others.
      const bool from_beginning = random() % 2 == 0;
      auto evaluation = std::make_shared<Evaluation>();
      evaluation->tokens = prompt(number);
      evaluation->state = state(from_beginning ? 0 : random());
      evaluation->output = random() % 4 == 0 ? Output::kScores : Output::kLast;
      evaluation->abandonable = evaluation->tokens.size() > 1 || random() % 2 == 0;
      evaluation->draw = random() % 3 == 0;
      evaluation->pack = random() % 4 == 0;
      evaluation->generation = std::make_shared<const wkv::Generation>();
      evaluation->finished = [this, from_beginning, number, raw = evaluation.get()] {
        finish(*raw, from_beginning, number);
      };
      {
        const std::lock_guard lock{mutex_};
        if (engine_ == nullptr) return;
        submitted.fetch_add(1);
        engine_->submit(evaluation);
        mine.push_back(std::move(evaluation));
        if (random() % 3 == 0) engine_->cancel(*mine[random() % mine.size()]);
      }
      wait_a_little(random);
    }
  }

  // Ends the engine, at once or after it has been told to.
  void end(bool at_once, std::mt19937& random) {
    std::unique_ptr<Engine> ending;
    {
      const std::lock_guard lock{mutex_};
      ending = std::move(engine_);
      if (!at_once) ending->stop();
    }
    if (!at_once) wait_a_little(random);
    ending.reset();
  }

  std::atomic<int> submitted{0};
  std::atomic<int> finished{0};
  std::atomic<int> completed{0};
  std::atomic<int> wrong{0};

 private:
  SessionState state(std::size_t number) {
    const std::lock_guard lock{states_mutex_};
    return states_[number % states_.size()];
  }

  // On the engine's thread.
  void finish(const Evaluation& evaluation, bool from_beginning, std::size_t number) {
    finished.fetch_add(1);
    if (evaluation.error) wrong.fetch_add(1);
    if (evaluation.was_cancelled || evaluation.error) return;
    completed.fetch_add(1);
    if (from_beginning && *evaluation.state.logits != expected_[number]) wrong.fetch_add(1);
    const std::lock_guard lock{states_mutex_};
    states_.push_back(evaluation.state);
    if (states_.size() > 8) states_.erase(states_.begin() + 1);
  }

  const std::vector<std::vector<float>>& expected_;
  std::mutex states_mutex_;
  std::vector<SessionState> states_;
  std::mutex mutex_;  // guards engine_, which is null once it ends
  std::unique_ptr<Engine> engine_;
};

}  // namespace

TEST_SUITE("engine teardown") {
  TEST_CASE(
      "engines end at random moments while threads submit and cancel, and every call is finished once") {
    const auto network = small_network();
    std::vector<std::vector<float>> expected;
    {
      Engine engine(network, 1, 1);
      for (std::size_t i = 0; i < kPrompts; ++i) {
        expected.push_back(wkv::test::evaluate(engine, fresh_state(*network), prompt(i))->values);
      }
    }
    int submitted = 0;
    int completed = 0;
    for (unsigned round = 0; round < kRounds; ++round) {
      std::mt19937 random(round);
      // Two engines of one network, as two worker threads have them: they share the weights and the pool.
      const auto up_to = [&](unsigned most) { return 1 + static_cast<unsigned>(random() % most); };
      Life one(network, expected, up_to(3), up_to(4));
      Life two(network, expected, up_to(3), up_to(64));
      std::vector<std::thread> users;
      for (unsigned user = 0; user < 2; ++user) {
        users.emplace_back([&, user] { one.use(round * 4 + user); });
        users.emplace_back([&, user] { two.use(round * 4 + 2 + user); });
      }
      wait_a_little(random);
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
      one.end(round % 2 == 0, random);
      two.end(round % 3 == 0, random);
      for (std::thread& user : users) user.join();
      for (const Life* life : {&one, &two}) {
        CHECK(life->finished == life->submitted);
        CHECK(life->wrong == 0);
        submitted += life->submitted;
        completed += life->completed;
      }
    }
    // Some came to their end and some did not: otherwise this has tested less than it says.
    CHECK(completed > kRounds);
    CHECK(completed < submitted);
  }
}
