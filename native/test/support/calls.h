#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace wkv::test {

// The state of a session that has seen nothing.
inline SessionState fresh_state(const Network& network) {
  SessionState state;
  state.layout = network.info().state;
  state.vocabulary = static_cast<std::uint32_t>(network.info().vocabulary);
  state.numbers = std::make_shared<Memory>(state.layout.numbers() * sizeof(float));
  network.initialize(state.numbers->floats());
  return state;
}

struct Call {
  std::shared_ptr<Evaluation> evaluation = std::make_shared<Evaluation>();
  std::shared_ptr<std::promise<void>> finished = std::make_shared<std::promise<void>>();
  std::future<void> done = finished->get_future();
};

inline Call prepare(SessionState state, std::vector<std::uint32_t> tokens, Output output = Output::kLast) {
  Call call;
  call.evaluation->state = std::move(state);
  call.evaluation->tokens = std::move(tokens);
  call.evaluation->output = output;
  call.evaluation->finished = [finished = call.finished] { finished->set_value(); };
  return call;
}

// One call from beginning to end.
inline std::shared_ptr<Evaluation> evaluate(Engine& engine, SessionState state,
                                            std::vector<std::uint32_t> tokens, Output output = Output::kLast,
                                            const std::optional<Sampling>& sampling = std::nullopt) {
  Call call = prepare(std::move(state), std::move(tokens), output);
  if (sampling) {
    call.evaluation->generation = std::make_shared<const Generation>(Generation{*sampling});
    call.evaluation->draw = true;
  }
  engine.submit(call.evaluation);
  call.done.wait();
  return call.evaluation;
}

}  // namespace wkv::test
