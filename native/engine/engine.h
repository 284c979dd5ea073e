#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "backend/cpu/event_count.h"
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

// How a generation draws, and which of the session's counts its penalties look at.
struct Generation {
  Sampling sampling;
  bool session_counts = false;
};

// One call on one session: evaluate tokens, then perhaps draw the next.
struct Evaluation {
  // In: before the call, out: after it. If the caller keeps no copy it must not cancel once work has begun
  // (`abandonable`), because the numbers are then changed in place.
  SessionState state;
  std::vector<std::uint32_t> tokens;
  Output output = Output::kLast;
  std::shared_ptr<const Generation> generation;  // needed for what follows
  bool generated = false;  // the tokens were generated: they are counted and use up their random numbers
  bool draw = false;  // the token after the last is drawn; its random number is used up when it comes back
  bool pack = false;  // the state is packed in the end: see SessionState::pack
  bool abandonable = true;
  std::function<void()> finished;  // on the engine's thread, once; must not throw

  std::atomic<std::size_t> evaluated{0};  // of the tokens, step by step; from any thread
  std::atomic<bool> cancelled{false};

  // Out. With `was_cancelled` or `error` set, `state` means nothing if `abandonable`. Else it is that before
  // the call, or that after all tokens, counts and random numbers included, where drawing or packing has
  // failed.
  bool was_cancelled = false;
  std::optional<Error> error;
  std::vector<float> values;
  Drawn drawn;

 private:
  friend class Engine;
  std::size_t left() const { return tokens.size() - done; }

  std::optional<DeviceDraw> device_draw;  // of the step that reaches the last token
  // Made beforehand: where there is no memory, none can be had to say so.
  Error no_memory{"ERR_WKV_MEMORY", "there is not enough memory for the session's state, logits or a step"};
  std::size_t done = 0;
  bool begun = false;
};

// What the steps of an engine have done so far.
struct Statistics {
  std::uint64_t steps = 0;
  std::uint64_t tokens = 0;
  std::uint64_t sessions = 0;  // taking part, summed over the steps
  std::uint64_t most = 0;      // sessions in one step
};

// A model's thread: gathers the pending tokens of all sessions into steps. Prompts are cut so that every
// session that waits takes part in every step; where somebody waits for a single token, prompts take turns.
class Engine {
 public:
  // `delivered` is called on the engine's thread after each group of calls that are finished together.
  Engine(std::shared_ptr<const Network> network, unsigned lanes, std::size_t max_sessions,
         std::function<void()> delivered = {});

  // Cancels what is pending and waits for the thread. `finished` is called for everything submitted.
  ~Engine();

  void submit(std::shared_ptr<Evaluation> evaluation);

  // What is submitted together takes part in the same step.
  void submit(std::span<const std::shared_ptr<Evaluation>> evaluations);

  // The same, without fail: takes them out of the list.
  void submit(std::list<std::shared_ptr<Evaluation>>& evaluations);

  // Sets `cancelled` and has the engine look at it soon.
  void cancel(Evaluation& evaluation);

  // Begins to end: everything pending is cancelled. wait(), or the destructor, waits for the end.
  void stop();
  void wait();

  const Network& network() const { return *network_; }

  // From any thread.
  Statistics statistics() const;

 private:
  // Calls move from list to list, for which no memory is needed: one that got lost would never end.
  using Calls = std::list<std::shared_ptr<Evaluation>>;

  void work();
  void take_new();
  void end_waiting(bool stopping);
  void wait_for_returning(std::size_t expected, std::chrono::steady_clock::duration step) const;
  void deliver();
  static void fail(Evaluation& evaluation);
  bool begin(Evaluation& evaluation);
  std::size_t begin_turn();
  std::vector<std::size_t> share_tokens(std::size_t budget) const;
  void step(std::size_t budget);
  void compute(std::size_t budget);
  bool draws_on_device(Evaluation& evaluation) const;
  static void count_generated(Evaluation& evaluation);
  void take_results(Evaluation& evaluation) const;
  void count_step(std::span<const Segment> segments);
  void score(Evaluation& evaluation, std::size_t position, const float* logits) const;

  std::shared_ptr<const Network> network_;
  std::unique_ptr<Workspace> workspace_;
  const unsigned lanes_;
  const std::size_t max_sessions_;
  const std::function<void()> delivered_;

  // Of the engine's thread.
  Calls waiting_;                // for their turn, in the order in which they get it
  Calls turn_;                   // take part in the step
  Calls over_;                   // to be delivered
  bool singles_before_ = false;  // the last step had sessions with a single token

  mutable std::mutex mutex_;  // guards what follows
  Calls incoming_;
  Statistics statistics_;

  EventCount wake_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;  // last: starts when everything else is there
};

}  // namespace wkv
