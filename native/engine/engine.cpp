#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <new>
#include <numeric>
#include <string>

#include "backend/cpu/cpu_features.h"
#include "backend/cpu/denormals.h"

namespace wkv {

namespace {
// Tokens of prompts in a step that also has sessions with a single token: those are likely to be generating,
// and wait for the whole step. Reading the weights is nearly paid for by so many.
constexpr std::size_t kPromptBesideTokens = 16;

// Those that the generation's penalties look at.
TokenCounts& counts_of(Evaluation& e) {
  return e.generation->session_counts ? e.state.counts : e.state.generation;
}

void count_tokens(const Evaluation& e, TokenCounts& counts) {
  const Sampling& sampling = e.generation->sampling;
  for (const std::uint32_t token : e.tokens) {
    counts.count(token, sampling.penalty_decay, sampling.is_exempt(token));
  }
}
}  // namespace

Engine::Engine(std::shared_ptr<const Network> network, unsigned lanes, std::size_t max_sessions,
               std::function<void()> delivered)
    : network_(std::move(network)),
      workspace_(network_->create_workspace(lanes)),
      lanes_(lanes),
      max_sessions_(max_sessions),
      delivered_(std::move(delivered)),
      thread_([this] { work(); }) {}

Engine::~Engine() {
  stop();
  wait();
}

void Engine::wait() {
  if (thread_.joinable()) thread_.join();
}

void Engine::stop() {
  stopping_.store(true);
  wake_.advance();
}

void Engine::submit(std::shared_ptr<Evaluation> evaluation) { submit(std::span{&evaluation, 1}); }

void Engine::submit(std::span<const std::shared_ptr<Evaluation>> evaluations) {
  Calls calls(evaluations.begin(), evaluations.end());
  submit(calls);
}

void Engine::submit(std::list<std::shared_ptr<Evaluation>>& evaluations) {
  {
    const std::lock_guard lock{mutex_};
    incoming_.splice(incoming_.end(), evaluations);
  }
  wake_.advance();
}

void Engine::cancel(Evaluation& evaluation) {
  evaluation.cancelled.store(true);
  wake_.advance();
}

void Engine::take_new() {
  const std::lock_guard lock{mutex_};
  waiting_.splice(waiting_.end(), incoming_);
}

void Engine::work() {
  flush_denormals();
  for (;;) {
    const std::uint32_t seen = wake_.value();
    // Before taking: what was submitted before stop() must be among what is taken.
    const bool stopping = stopping_.load();
    take_new();
    end_waiting(stopping);
    deliver();
    if (waiting_.empty()) {
      // Nothing is submitted after stop().
      if (stopping) return;
      wake_.wait(seen);
      continue;
    }
    const auto began = std::chrono::steady_clock::now();
    const std::size_t budget = begin_turn();
    deliver();
    if (turn_.empty()) continue;
    step(budget);
    // Whoever has waited goes first next time.
    waiting_.splice(waiting_.end(), turn_);
    const auto singles = static_cast<std::size_t>(
        std::count_if(over_.begin(), over_.end(), [](const auto& call) { return call->tokens.size() == 1; }));
    deliver();
    singles_before_ = singles > 0;
    if (singles > 0 && !waiting_.empty()) {
      wait_for_returning(singles, std::chrono::steady_clock::now() - began);
    }
  }
}

// Those that are cancelled, and those that have nothing to be evaluated.
void Engine::end_waiting(bool stopping) {
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    const auto call = next++;
    Evaluation& e = **call;
    const bool may_stop = e.abandonable || !e.begun;
    e.was_cancelled = may_stop && (stopping || e.cancelled.load());
    if (!e.was_cancelled && !e.tokens.empty()) continue;
    if (!e.was_cancelled) take_results(e);
    over_.splice(over_.end(), waiting_, call);
  }
}

// Sessions that had their single token computed are about to come with the next one. If prompts would go on
// without them, they would wait for a long step: a moment's patience, short beside a step, keeps them
// together.
void Engine::wait_for_returning(std::size_t expected, std::chrono::steady_clock::duration step) const {
  constexpr std::chrono::steady_clock::duration kMax = std::chrono::milliseconds{2};
  const auto until = std::chrono::steady_clock::now() + std::min(step / 8, kMax);
  const auto waiting = [&] {
    const std::lock_guard lock{mutex_};
    return incoming_.size();
  };
  while (!stopping_.load() && waiting() < expected && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::microseconds{50});
  }
}

void Engine::deliver() {
  if (over_.empty()) return;
  for (; !over_.empty(); over_.pop_front()) {
    // The closure may hold the evaluation: it must not outlive the call.
    const std::function<void()> finished = std::move(over_.front()->finished);
    over_.front()->finished = nullptr;
    finished();
  }
  if (delivered_) delivered_();
}

// Notes why a call has failed: of what is being caught. Copying an Error takes memory, too.
void Engine::fail(Evaluation& e) {
  try {
    try {
      throw;
    } catch (const Error& error) {
      e.error = error;
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& other) {
      e.error = failure_of(other);
    }
  } catch (const std::bad_alloc&) {
    e.error = std::move(e.no_memory);
  }
}

// Prepares an evaluation for its first step; false if it fails. What it returns, and what it counts, has its
// place from here on: when numbers have been changed in place it is too late to find that there is none.
bool Engine::begin(Evaluation& e) {
  e.begun = true;
  try {
    const auto vocabulary = static_cast<std::size_t>(network_->info().vocabulary);
    e.state.move_to(*network_);
    if (e.generated) counts_of(e).reserve(e.tokens.size());
    if (e.output == Output::kLast) e.values.reserve(vocabulary);
    if (e.output == Output::kAll) e.values.resize(e.tokens.size() * vocabulary);
    if (e.output == Output::kScores) {
      e.values.resize(e.tokens.size());
      e.values[0] = std::numeric_limits<float>::quiet_NaN();
      if (e.state.has_logits()) score(e, 0, e.state.last_logits()->data());
    }
    return true;
  } catch (const std::exception&) {
    fail(e);
    return false;
  }
}

// Moves those that take part in the next step to turn_, and prepares them; those of them that fail are over.
// Others go on waiting with what they share: numbers of their own take much memory. Returns how many tokens
// the step may have. Where somebody waits for a single token, or had one in the step before and so may be
// about to come with the next, the step is kept short: all such calls take part, and few prompts.
std::size_t Engine::begin_turn() {
  const std::size_t most = std::min(max_sessions_, network_->max_tokens());
  const auto is_single = [](const auto& call) { return call->left() == 1; };
  const bool is_short = singles_before_ || std::any_of(waiting_.begin(), waiting_.end(), is_single);
  const std::size_t most_prompts = is_short ? kPromptBesideTokens : most;
  std::size_t prompts = 0;
  for (auto next = waiting_.begin(); next != waiting_.end() && turn_.size() < most;) {
    const auto call = next++;
    const bool is_prompt = !is_single(*call);
    if (is_prompt && prompts == most_prompts) continue;
    const bool is_ready = (*call)->begun || begin(**call);
    Calls& to = is_ready ? turn_ : over_;
    to.splice(to.end(), waiting_, call);
    if (is_prompt && is_ready) ++prompts;
  }
  const std::size_t singles = turn_.size() - prompts;
  return is_short ? std::min(network_->max_tokens(), singles + kPromptBesideTokens) : network_->max_tokens();
}

// Generated tokens are counted, and use up their random numbers.
void Engine::count_generated(Evaluation& e) {
  count_tokens(e, counts_of(e));
  e.state.draws += e.tokens.size();
}

// Has the network draw the next token, where it can and nobody asks for the logits. What it needs to know is
// what count_generated() will leave.
bool Engine::draws_on_device(Evaluation& e) const {
  if (!e.draw || e.output != Output::kNone) return false;
  const TokenCounts& counts = counts_of(e);
  const std::size_t generated = e.generated ? e.tokens.size() : 0;
  const Sampling& sampling = e.generation->sampling;
  if (!network_->draws(sampling, counts.entries().size() + generated)) return false;
  e.device_draw = {&sampling, counts, uniform(e.state.seed, e.state.draws + generated), std::nullopt};
  if (e.generated) count_tokens(e, e.device_draw->counts);
  return true;
}

namespace {

// Why no token was drawn; null for logits that a device drew from, which are not known here.
Error nothing_to_draw(const std::vector<float>* logits) {
  std::string cause = "no token is left that may be drawn, or the logits are not finite";
  if (logits != nullptr) {
    const auto is_finite = [](float logit) { return std::isfinite(logit); };
    const bool finite = std::all_of(logits->begin(), logits->end(), is_finite);
    cause = finite ? "no token is left that may be drawn" : "the logits are not finite";
  }
  return Error("ERR_WKV_STATE", "there is nothing to sample from: " + cause);
}

}  // namespace

// What is asked for after the last token: its logits, the next token, the packed state. For several sessions
// at once, on several threads.
void Engine::take_results(Evaluation& e) const {
  try {
    if (e.generated) count_generated(e);
    if (e.output == Output::kLast && e.state.has_logits()) e.values = *e.state.last_logits();
    if (e.draw) {
      if (!e.state.has_logits()) {
        e.error = Error("ERR_WKV_STATE", "the session has seen nothing yet: there is nothing to sample from");
        return;
      }
      std::optional<Drawn> drawn;
      if (!e.device_draw) {
        drawn = sample(*e.state.last_logits(), e.generation->sampling, counts_of(e),
                       uniform(e.state.seed, e.state.draws));
      } else if (e.device_draw->token) {
        drawn = Drawn{.token = *e.device_draw->token, .logprob = 0, .top = {}};
      }
      if (!drawn) {
        e.error = nothing_to_draw(e.device_draw ? nullptr : e.state.last_logits().get());
        return;
      }
      e.drawn = std::move(*drawn);
    }
    if (e.pack) e.state.pack(*network_);
  } catch (const std::exception&) {
    fail(e);
  }
}

// values[position] = log-probability of that token under `logits`.
void Engine::score(Evaluation& e, std::size_t position, const float* logits) const {
  const float sum = selected_kernels().log_sum_exp(logits, network_->info().vocabulary);
  e.values[position] = logits[e.tokens[position]] - sum;
}

// Every session of a step gets the same share of its tokens; what short ones leave goes to the longer ones.
std::vector<std::size_t> Engine::share_tokens(std::size_t budget) const {
  std::vector<std::size_t> left;
  for (const auto& call : turn_) left.push_back(call->left());
  std::vector<std::size_t> order(left.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return left[a] < left[b]; });
  std::vector<std::size_t> shares(left.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    shares[order[i]] = std::min(budget / (order.size() - i), left[order[i]]);
    budget -= shares[order[i]];
  }
  return shares;
}

// A step of those whose turn it is. What they leave of turn_ goes on; an error ends all of them.
void Engine::step(std::size_t budget) {
  try {
    compute(budget);
  } catch (const std::exception&) {
    // Thrown before anything is changed: steps and networks allocate first.
    for (const auto& call : turn_) fail(*call);
    over_.splice(over_.end(), turn_);
  }
}

void Engine::compute(std::size_t budget) {
  const std::vector<std::size_t> shares = share_tokens(budget);
  std::vector<Evaluation*> calls;
  for (const auto& call : turn_) calls.push_back(call.get());
  std::vector<Segment> segments;
  // Allocated before anything changes; the sink runs on several threads and must not fail.
  const auto vocabulary = static_cast<std::size_t>(network_->info().vocabulary);
  std::vector<std::shared_ptr<std::vector<float>>> last_logits(calls.size());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    Evaluation& e = *calls[i];
    const bool last = shares[i] == e.left();
    const bool all = e.output == Output::kAll || e.output == Output::kScores;
    const bool draws = last && draws_on_device(e);
    segments.push_back({.tokens = std::span{e.tokens}.subspan(e.done, shares[i]),
                        .state = e.state.numbers == nullptr ? nullptr : e.state.numbers->floats(),
                        .logits = all              ? Logits::kAll
                                  : last && !draws ? Logits::kLast
                                                   : Logits::kNone,
                        .device = e.state.device.get(),
                        .draw = draws ? &*e.device_draw : nullptr});
    if (last && !draws) last_logits[i] = std::make_shared<std::vector<float>>(vocabulary);
  }

  const LogitsSink sink = [&](std::size_t segment, std::size_t token, const float* logits) {
    Evaluation& e = *calls[segment];
    const std::size_t position = e.done + token;
    if (e.output == Output::kAll) {
      std::copy_n(logits, vocabulary, e.values.data() + position * vocabulary);
    } else if (e.output == Output::kScores && position + 1 < e.tokens.size()) {
      score(e, position + 1, logits);
    }
    if (position + 1 == e.tokens.size()) std::copy_n(logits, vocabulary, last_logits[segment]->data());
  };
  const Abandon abandon = [&] {
    return std::all_of(calls.begin(), calls.end(), [&](const Evaluation* e) {
      return e->abandonable && (stopping_.load() || e->cancelled.load());
    });
  };
  // An abandoned step consists of evaluations that work() is about to end.
  if (!network_->step(segments, *workspace_, ThreadPool::process(), lanes_, sink, abandon)) return;
  count_step(segments);

  // Nothing is allocated from here on, but by what take_results() catches.
  std::size_t ended = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    Evaluation& e = *calls[i];
    e.done += segments[i].tokens.size();
    e.evaluated.store(e.done, std::memory_order_relaxed);
    e.state.tokens += segments[i].tokens.size();
    if (e.left() > 0) continue;
    e.state.logits = last_logits[i];
    e.state.logits_on_device = segments[i].draw != nullptr;
    calls[ended++] = &e;
  }
  for (auto next = turn_.begin(); next != turn_.end();) {
    const auto call = next++;
    if ((*call)->left() == 0) over_.splice(over_.end(), turn_, call);
  }
  ThreadPool::process().run(lanes_, ended, [&](std::size_t i, unsigned) { take_results(*calls[i]); });
}

void Engine::count_step(std::span<const Segment> segments) {
  const std::lock_guard lock{mutex_};
  statistics_.steps += 1;
  statistics_.sessions += segments.size();
  statistics_.most = std::max<std::uint64_t>(statistics_.most, segments.size());
  for (const Segment& segment : segments) statistics_.tokens += segment.tokens.size();
}

Statistics Engine::statistics() const {
  const std::lock_guard lock{mutex_};
  return statistics_;
}

}  // namespace wkv
