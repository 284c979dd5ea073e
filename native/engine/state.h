#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/cpu/memory.h"
#include "engine/network.h"

namespace wkv {

// Everything that continues a session: an immutable value once it is shared. Copying it copies references;
// whoever wants to change the numbers takes its own copy first (unshare).
struct SessionState {
  StateLayout layout;
  std::string fingerprint;  // of the weights that the state belongs to; 32 hexadecimal digits
  std::uint32_t vocabulary = 0;

  std::shared_ptr<Memory> numbers;                   // layout.numbers() floats
  std::shared_ptr<const std::vector<float>> logits;  // after the last token; null if there was none
  std::uint64_t tokens = 0;                          // how many the session has seen
  std::uint64_t seed = 0;                            // of the session's random numbers
  std::uint64_t draws = 0;                           // how many have been used

  // Makes the numbers this value's own. Throws std::bad_alloc.
  void unshare();
};

enum class StatePrecision : std::uint8_t { kF32 = 0, kF16 = 1 };

// The format is described in docs/state-format.md. f32 is exact; f16 keeps one scale per head. The logits are
// always exact.
std::vector<unsigned char> serialize(const SessionState& state, StatePrecision precision);

// Throws ERR_WKV_STATE for anything that serialize() did not write.
SessionState deserialize(std::span<const unsigned char> bytes);

}  // namespace wkv
