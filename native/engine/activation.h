#pragma once

#include <cstddef>

#include "backend/cpu/memory.h"
#include "engine/matrix.h"

namespace wkv {

// Activations of the tokens of a step, [tokens][channels], each row padded with zeros to an odd number of
// registers: rows that are a power of two apart would push each other out of the caches, which keep only a
// few lines for such addresses. Kernels write only the channels, so the padding stays zero.
struct Activation {
  Activation() = default;
  Activation(std::size_t tokens, int channels)
      : stride(std::ptrdiff_t{round_up(channels, kPanelColumns) / kPanelColumns | 1} * kPanelColumns),
        memory(tokens * static_cast<std::size_t>(stride) * sizeof(float)) {}

  float* row(std::size_t token) { return memory.floats() + static_cast<std::ptrdiff_t>(token) * stride; }
  const float* row(std::size_t token) const {
    return memory.floats() + static_cast<std::ptrdiff_t>(token) * stride;
  }

  std::ptrdiff_t stride = 0;
  Memory memory;
};

}  // namespace wkv
