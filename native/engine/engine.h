#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/error.h"
#include "engine/network.h"
#include "engine/sampler.h"
#include "engine/state.h"

namespace wkv {

// What a caller wants of a run of tokens beside the new state.
enum class Output : std::uint8_t {
  kNone,
  kLast,    // the logits after the last token
  kAll,     // the logits after every token, [tokens * vocabulary]
  kScores,  // the log-probability of every token given those before it, [tokens]
};

// One call on one session: evaluate tokens, then perhaps draw the next.
struct Evaluation {
  // In: before the call, out: after it. If the caller keeps no copy it must not cancel once work has begun
  // (`abandonable`), because the numbers are then changed in place.
  SessionState state;
  std::vector<std::uint32_t> tokens;
  Output output = Output::kLast;
  std::optional<Sampling> sampling;
  bool abandonable = true;
  std::function<void()> finished;  // on the engine's thread, once

  std::atomic<bool> cancelled{false};

  // Out. With `was_cancelled` or `error` set, `state` means nothing if `abandonable`.
  bool was_cancelled = false;
  std::optional<Error> error;
  std::vector<float> values;
  std::uint32_t sampled = 0;

 private:
  friend class Engine;
  std::size_t done = 0;
  bool begun = false;
};

// A model's thread: gathers the pending tokens of all sessions into steps. Prompts are cut so that every
// session that waits takes part in every step.
class Engine {
 public:
  Engine(std::shared_ptr<const Network> network, unsigned lanes, std::size_t most_sessions);

  // Cancels what is pending and waits for the thread. `finished` is called for everything submitted.
  ~Engine();

  void submit(std::shared_ptr<Evaluation> evaluation);

  // Sets `cancelled` and has the engine look at it soon.
  void cancel(Evaluation& evaluation);

  // Begins to end: everything pending is cancelled. wait(), or the destructor, waits for the end.
  void stop();
  void wait();

  const Network& network() const { return *network_; }

 private:
  using Item = std::shared_ptr<Evaluation>;

  void work();
  bool take_new(std::deque<Item>& active);
  static void finish(const Item& item);
  static void fail(std::deque<Item>& active, const Error& error);
  bool begin(Evaluation& evaluation);
  static std::vector<std::size_t> share_tokens(const std::deque<Item>& active, std::size_t sessions);
  void step(std::deque<Item>& active);
  static void take_results(Evaluation& evaluation);
  void score(Evaluation& evaluation, std::size_t position, const float* logits) const;

  std::shared_ptr<const Network> network_;
  std::unique_ptr<Workspace> workspace_;
  const unsigned lanes_;
  const std::size_t most_sessions_;

  std::mutex mutex_;  // guards incoming_
  std::deque<Item> incoming_;
  std::atomic<std::uint32_t> wake_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;  // last: starts when everything else is there
};

}  // namespace wkv
