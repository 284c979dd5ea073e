#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <new>
#include <numeric>

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
  {
    const std::lock_guard lock{mutex_};
    incoming_.insert(incoming_.end(), evaluations.begin(), evaluations.end());
  }
  wake_.advance();
}

void Engine::cancel(Evaluation& evaluation) {
  evaluation.cancelled.store(true);
  wake_.advance();
}

bool Engine::take_new(std::deque<Item>& active) {
  const std::lock_guard lock{mutex_};
  const bool any = !incoming_.empty();
  for (Item& item : incoming_) active.push_back(std::move(item));
  incoming_.clear();
  return any;
}

void Engine::work() {
  flush_denormals();
  std::deque<Item> active;
  for (;;) {
    const std::uint32_t seen = wake_.value();
    // Before taking: what was submitted before stop() must be among what is taken.
    const bool stopping = stopping_.load();
    static_cast<void>(take_new(active));
    bool any_over = false;
    for (std::size_t i = 0; i < active.size();) {
      Evaluation& evaluation = *active[i];
      const bool may_stop = evaluation.abandonable || !evaluation.begun;
      if (may_stop && (stopping || evaluation.cancelled.load())) {
        evaluation.was_cancelled = true;
      } else if (evaluation.tokens.empty()) {
        take_results(evaluation);
      } else {
        ++i;
        continue;
      }
      finish_at(active, i);
      any_over = true;
    }
    if (any_over) delivered();
    if (!active.empty()) {
      const std::size_t sessions = begin_first(active);
      try {
        if (sessions > 0) step(active, sessions);
      } catch (const std::bad_alloc&) {
        // Thrown before anything is changed: steps and networks allocate first.
        fail_step(active, sessions,
                  Error("ERR_WKV_MEMORY", "there is not enough memory for a step of the model"));
      } catch (const Error& error) {
        fail_step(active, sessions, error);
      }
    } else if (stopping) {
      // Nothing is submitted after stop().
      return;
    } else {
      wake_.wait(seen);
    }
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

void Engine::finish(const Item& item) {
  // The closure may hold the evaluation: it must not outlive the call.
  const std::function<void()> finished = std::move(item->finished);
  item->finished = nullptr;
  finished();
}

void Engine::finish_at(std::deque<Item>& active, std::size_t index) {
  const Item item = active[index];
  active.erase(active.begin() + static_cast<std::ptrdiff_t>(index));
  finish(item);
}

void Engine::delivered() const {
  if (delivered_) delivered_();
}

// Ends those that took part in a step; the others go on.
void Engine::fail_step(std::deque<Item>& active, std::size_t sessions, const Error& error) const {
  const auto end = active.begin() + static_cast<std::ptrdiff_t>(sessions);
  for (auto item = active.begin(); item != end; ++item) {
    (*item)->error = error;
    finish(*item);
  }
  active.erase(active.begin(), end);
  delivered();
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
  } catch (const std::bad_alloc&) {
    e.error = Error("ERR_WKV_MEMORY", "there is not enough memory for the session's state or its logits");
  } catch (const Error& error) {
    e.error = error;
  }
  return false;
}

// Prepares those that take part in the next step, and finishes those of them that fail. Others go on waiting
// with what they share: numbers of their own take much memory. Returns how many take part, the first ones.
std::size_t Engine::begin_first(std::deque<Item>& active) {
  const std::size_t most = std::min(max_sessions_, network_->max_tokens());
  std::size_t ready = 0;
  bool any_over = false;
  while (ready < most && ready < active.size()) {
    if (active[ready]->begun || begin(*active[ready])) {
      ++ready;
      continue;
    }
    finish_at(active, ready);
    any_over = true;
  }
  if (any_over) delivered();
  return ready;
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
        e.error =
            Error("ERR_WKV_STATE",
                  "there is nothing to sample from: the logits are not finite, or every token is forbidden");
        return;
      }
      e.drawn = std::move(*drawn);
    }
    if (e.pack) e.state.pack(*network_);
  } catch (const std::bad_alloc&) {
    e.error = Error("ERR_WKV_MEMORY", "there is not enough memory for logits or the session's state");
  } catch (const Error& error) {
    e.error = error;
  }
}

// values[position] = log-probability of that token under `logits`.
void Engine::score(Evaluation& e, std::size_t position, const float* logits) const {
  const float sum = selected_kernels().log_sum_exp(logits, network_->info().vocabulary);
  e.values[position] = logits[e.tokens[position]] - sum;
}

// Every session of a step gets the same share of its tokens; what short ones leave goes to the longer ones.
// Where somebody waits for a single token, or had one in the step before and so may be about to come with the
// next, the step is kept short.
std::vector<std::size_t> Engine::share_tokens(const std::deque<Item>& active, std::size_t sessions) const {
  const auto left = [&](std::size_t i) { return active[i]->tokens.size() - active[i]->done; };
  std::vector<std::size_t> order(sessions);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return left(a) < left(b); });
  std::vector<std::size_t> shares(sessions);
  const auto singles = static_cast<std::size_t>(
      std::count_if(order.begin(), order.end(), [&](std::size_t i) { return left(i) == 1; }));
  std::size_t budget = network_->max_tokens();
  if (singles > 0 || singles_before_) {
    budget = std::min(budget, std::max(sessions, singles + kPromptBesideTokens));
  }
  for (std::size_t i = 0; i < sessions; ++i) {
    shares[order[i]] = std::min(budget / (sessions - i), left(order[i]));
    budget -= shares[order[i]];
  }
  return shares;
}

// Of the first ones, which have begun.
void Engine::step(std::deque<Item>& active, std::size_t sessions) {
  const auto began = std::chrono::steady_clock::now();
  const std::vector<std::size_t> shares = share_tokens(active, sessions);
  std::vector<Segment> segments;
  for (std::size_t i = 0; i < sessions; ++i) {
    Evaluation& e = *active[i];
    const bool last = e.done + shares[i] == e.tokens.size();
    const bool all = e.output == Output::kAll || e.output == Output::kScores;
    const bool draws = last && draws_on_device(e);
    segments.push_back({.tokens = std::span{e.tokens}.subspan(e.done, shares[i]),
                        .state = e.state.numbers == nullptr ? nullptr : e.state.numbers->floats(),
                        .logits = all              ? Logits::kAll
                                  : last && !draws ? Logits::kLast
                                                   : Logits::kNone,
                        .device = e.state.device.get(),
                        .draw = draws ? &*e.device_draw : nullptr});
  }

  // Allocated before anything changes; the sink runs on several threads and must not fail.
  const auto vocabulary = static_cast<std::size_t>(network_->info().vocabulary);
  std::vector<std::shared_ptr<std::vector<float>>> last_logits(sessions);
  for (std::size_t i = 0; i < sessions; ++i) {
    const bool last = active[i]->done + segments[i].tokens.size() == active[i]->tokens.size();
    if (last && segments[i].draw == nullptr) {
      last_logits[i] = std::make_shared<std::vector<float>>(vocabulary);
    }
  }
  std::vector<Item> over;
  over.reserve(sessions);

  const LogitsSink sink = [&](std::size_t segment, std::size_t token, const float* logits) {
    Evaluation& e = *active[segment];
    const std::size_t position = e.done + token;
    if (e.output == Output::kAll) {
      std::copy_n(logits, vocabulary, e.values.data() + position * vocabulary);
    } else if (e.output == Output::kScores && position + 1 < e.tokens.size()) {
      score(e, position + 1, logits);
    }
    if (position + 1 == e.tokens.size()) std::copy_n(logits, vocabulary, last_logits[segment]->data());
  };
  const Abandon abandon = [&] {
    return std::all_of(
        active.begin(), active.begin() + static_cast<std::ptrdiff_t>(sessions),
        [&](const Item& item) { return item->abandonable && (stopping_.load() || item->cancelled.load()); });
  };
  count_step(segments);
  // An abandoned step consists of evaluations that work() is about to end.
  if (!network_->step(segments, *workspace_, ThreadPool::process(), lanes_, sink, abandon)) return;

  for (std::size_t i = 0; i < sessions; ++i) {
    Evaluation& e = *active[i];
    e.done += segments[i].tokens.size();
    e.state.tokens += segments[i].tokens.size();
    if (e.done < e.tokens.size()) continue;
    e.state.logits = last_logits[i];
    e.state.logits_on_device = segments[i].draw != nullptr;
    over.push_back(active[i]);
  }
  // Whoever has waited goes first next time. Nothing is allocated: a call that got lost would never end.
  std::rotate(active.begin(), active.begin() + static_cast<std::ptrdiff_t>(sessions), active.end());
  std::erase_if(active, [](const Item& item) { return item->done == item->tokens.size(); });
  ThreadPool::process().run(lanes_, over.size(), [&](std::size_t i, unsigned) { take_results(*over[i]); });
  const auto singles = static_cast<std::size_t>(
      std::count_if(over.begin(), over.end(), [](const Item& item) { return item->tokens.size() == 1; }));
  for (const Item& item : over) finish(item);
  if (!over.empty()) delivered();
  singles_before_ = singles > 0;
  if (singles > 0 && !active.empty()) wait_for_returning(singles, std::chrono::steady_clock::now() - began);
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
