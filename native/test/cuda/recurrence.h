#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/segment.h"
#include "test/cuda/on_device.h"
#include "test/support/numbers.h"

namespace wkv::test {

// What a recurrence gives: its output, and the states of its segments.
struct Recurrence {
  Floats y;
  std::vector<Floats> states;
};

// "" if everything has the bits that are expected.
inline std::string difference(const Recurrence& actual, const Recurrence& expected) {
  std::string found = bit_difference(actual.y, expected.y);
  for (std::size_t s = 0; s < expected.states.size(); ++s) {
    const std::string of_state = bit_difference(actual.states[s], expected.states[s]);
    if (!of_state.empty()) found += " state " + std::to_string(s) + " " + of_state;
  }
  return found;
}

// Runs a recurrence on the simulated GPU for segments of `counts` tokens that follow one another, in pieces
// of at most `piece` tokens: launch(segments, their number, their tokens, y).
template <class Launch>
Recurrence run_in_pieces(const std::vector<int>& counts, const std::vector<Floats>& states,
                         std::size_t numbers, int piece, Launch launch) {
  OnDevice<float> y(numbers);
  std::vector<std::unique_ptr<OnDevice<float>>> on_device;
  for (const Floats& state : states) on_device.push_back(std::make_unique<OnDevice<float>>(state));
  for (int done = 0;; done += piece) {
    std::vector<cuda::Segment> pieces;
    int first = 0;
    int tokens = 0;
    for (std::size_t s = 0; s < counts.size(); ++s) {
      const int left = std::min(counts[s] - done, piece);
      if (left > 0) pieces.push_back({on_device[s]->data(), first + done, left});
      tokens += std::max(left, 0);
      first += counts[s];
    }
    if (pieces.empty()) break;
    OnDevice<cuda::Segment> segments(pieces);
    launch(segments.data(), static_cast<int>(pieces.size()), tokens, y.data());
  }
  Recurrence result{y.values(), {}};
  for (const auto& state : on_device) result.states.push_back(state->values());
  return result;
}

}  // namespace wkv::test
