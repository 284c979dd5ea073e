#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/cpu/memory.h"
#include "engine/network.h"
#include "engine/token_counts.h"

namespace wkv {

// Everything that continues a session: an immutable value once it is shared. Copying it copies references;
// whoever wants to change the numbers takes its own copy first (unshare).
struct SessionState {
  StateLayout layout;
  std::string fingerprint;  // of the weights that the state belongs to; 32 hexadecimal digits
  std::uint32_t vocabulary = 0;

  // One of them is there: the layout.numbers() floats, the same as pack() made them, or either on a device.
  std::shared_ptr<Memory> numbers;
  std::shared_ptr<const Memory> packed;
  std::shared_ptr<DeviceNumbers> device;

  std::shared_ptr<const std::vector<float>> logits;  // after the last token; null if there was none
  bool logits_on_device = false;                     // they are there, with the numbers, instead
  std::uint64_t tokens = 0;                          // how many the session has seen

  // The sampler's part. The token after the last one is drawn with random number `draws` of the seed;
  // evaluating a generated token uses its number up and counts it.
  std::uint64_t seed = 0;
  std::uint64_t draws = 0;
  TokenCounts counts;      // by generations with penalties: 'session'
  TokenCounts generation;  // by the generation that runs; not saved

  // Blocks of states that are packed between calls are mapped from this size on, packed and unpacked. On the
  // heap the small blocks of other things settle in the holes that floats leave, and the process would grow
  // as if nothing were packed.
  static constexpr std::size_t kMapPackedFrom = std::size_t{1} << 15;

  bool has_logits() const { return logits != nullptr || logits_on_device; }
  // Null if there are none. Throws as unshare.
  std::shared_ptr<const std::vector<float>> last_logits() const;

  // Makes the numbers floats, and this value's own. Throws std::bad_alloc, or ERR_WKV_DEVICE where they are
  // on a device.
  void unshare();

  // Makes the numbers what the network steps, floats or on its device, and this value's own. Throws as
  // unshare.
  void move_to(const Network& network);

  // Takes half the memory from here on, at the price of rounding every number to f16 with one scale per
  // group: on the host, or, where the network has it on its device and there is room, there. Throws as
  // unshare.
  void pack();
  void pack(const Network& network);

  // What the numbers take, wherever they are.
  std::size_t bytes() const;
};

enum class StatePrecision : std::uint8_t { kF32 = 0, kF16 = 1 };

// The numbers as f16, group by group: a scale (float), a power of two, then the values divided by it. Parts
// that stay exact are floats. What was packed and unpacked is packed to the same bytes.
std::size_t packed_bytes(const StateLayout& layout);
void pack(const StateLayout& layout, const float* numbers, unsigned char* packed);
void unpack(const StateLayout& layout, const unsigned char* packed, float* numbers);

// Takes over the layout's numbers. Throws ERR_WKV_STATE where they are too few, too many or not finite.
void import_numbers(SessionState& state, std::span<const float> numbers);

// The format is described in docs/state-format.md. f32 is exact; f16 keeps one scale per head, and what
// layouts call exact. The logits are always exact. Throws ERR_WKV_STATE where a number is not finite, or
// would not be when it is read again.
std::vector<unsigned char> serialize(const SessionState& state, StatePrecision precision);

// Throws ERR_WKV_STATE for anything that serialize() did not write.
SessionState deserialize(std::span<const unsigned char> bytes);

}  // namespace wkv
