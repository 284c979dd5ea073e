#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <vector>

#include "test/support/guarded.h"
#include "test/support/numbers.h"

namespace wkv::test {

// How tests call the kernels of recurrences: for some channels of a run of tokens, which have those of
// others, that nobody may touch, between them.
struct RunShape {
  std::size_t numbers() const { return stride() * static_cast<std::size_t>(tokens - 1) + channels; }
  std::size_t stride() const { return channels + 5; }

  // Calls kernel(at, count, y) for tokens in pieces of these lengths: `at` is where a piece begins in arrays
  // like `y`, the output, which is returned.
  template <class Kernel>
  Floats in_pieces(const std::vector<int>& pieces, Kernel kernel) const {
    constexpr float kUntouched = 12345;
    Guarded<float> y(Floats(numbers(), kUntouched));
    std::size_t at = 0;
    for (const int piece : pieces) {
      kernel(at, piece, y.data() + at);
      at += stride() * static_cast<std::size_t>(piece);
    }
    CHECK(y.intact());
    bool gaps_untouched = true;
    for (std::size_t i = 0; i < numbers(); ++i) {
      if (i % stride() >= channels) gaps_untouched &= y.data()[i] == kUntouched;
    }
    CHECK(gaps_untouched);
    return y.copy();
  }

  std::size_t channels;
  int tokens;
};

}  // namespace wkv::test
