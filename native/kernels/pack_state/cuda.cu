// A block for each group of each layer. Groups may have odd sizes, so that what follows them is aligned to
// halves alone.

#include "kernels/cuda/launch.cuh"
#include "kernels/pack_state/cuda.h"

namespace wkv::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

struct Group {
  float* numbers;
  std::uint16_t* packed;
  int count;
  bool exact;
};

WKV_BOTH int groups_of(const StatePart& part) { return part.group == 0 ? 1 : part.count / part.group; }

WKV_DEVICE Group group_of_block(const PackStateArguments& a) {
  std::ptrdiff_t numbers_of_layer = 0;
  std::ptrdiff_t halves_of_layer = 0;
  Group group{};
  int index = block_x();
  for (int i = 0; i < a.count; ++i) {
    const StatePart& part = a.parts[i];
    if (index >= 0 && index < groups_of(part)) {
      const int size = part.group == 0 ? part.count : part.group;
      group = {a.numbers + numbers_of_layer + static_cast<std::ptrdiff_t>(index) * size,
               a.packed + halves_of_layer + static_cast<std::ptrdiff_t>(index) * (size + 2), size,
               part.group == 0};
    }
    index -= groups_of(part);
    numbers_of_layer += part.count;
    halves_of_layer += packed_halves(part);
  }
  group.numbers += block_y() * numbers_of_layer;
  group.packed += block_y() * halves_of_layer;
  return group;
}

WKV_DEVICE void store_float(std::uint16_t* place, float value) {
  place[0] = static_cast<std::uint16_t>(bits_of(value));
  place[1] = static_cast<std::uint16_t>(bits_of(value) >> 16U);
}
WKV_DEVICE float load_float(const std::uint16_t* place) {
  return float_of(place[0] | static_cast<std::uint32_t>(place[1]) << 16U);
}

constexpr std::uint32_t kInfinity = 0x7f800000U;
constexpr std::uint32_t kExponentBits = 23;
WKV_DEVICE float power_of_two(int exponent) {
  return float_of(static_cast<std::uint32_t>(exponent + 127) << kExponentBits);
}

// Half of the last place of f16, in the bits of a float.
constexpr std::uint32_t kHalfPlace = 1U << 12U;

// The exponent of the power of two that brings the largest number, as f16, below 2^15; `largest` is its bits.
// The scale and its inverse are normal floats.
WKV_DEVICE int scale_exponent(std::uint32_t largest) {
  if (largest >> kExponentBits == 0) return 0;
  // Where f16 rounds up to a power of two, the exponent is that one's.
  const int exponent = static_cast<int>((largest + kHalfPlace) >> kExponentBits);
  const int scale = exponent - 126 - 15;
  return scale < -126 ? -126 : scale;
}

struct Shared {
  std::uint32_t largest[kWarps];
};

WKV_KERNEL(kThreads) pack_state_kernel(WKV_ARGUMENTS PackStateArguments a) {
  begin_next_kernel();
  await_previous_kernel();
  const Group group = group_of_block(a);
  if (group.exact) {
    for (int i = thread_index(); i < group.count; i += kThreads) {
      store_float(group.packed + 2 * static_cast<std::ptrdiff_t>(i), group.numbers[i]);
    }
    return;
  }
  std::uint32_t largest = 0;
  for (int i = thread_index(); i < group.count; i += kThreads) {
    const std::uint32_t magnitude = bits_of(group.numbers[i]) & 0x7fffffffU;
    const bool is_number = magnitude <= kInfinity;
    largest = is_number && magnitude > largest ? magnitude : largest;
  }
  auto& shared = shared_memory<Shared>();
  largest = warp_largest(largest);
  if (thread_index() % kWarp == 0) shared.largest[thread_index() / kWarp] = largest;
  sync_block();
  for (const std::uint32_t of_warp : shared.largest) largest = of_warp > largest ? of_warp : largest;
  const int exponent = scale_exponent(largest);
  if (thread_index() == 0) store_float(group.packed, power_of_two(exponent));
  const float inverse = power_of_two(-exponent);
  for (int i = thread_index(); i < group.count; i += kThreads) {
    group.packed[2 + i] = to_f16(group.numbers[i] * inverse);
  }
}

WKV_KERNEL(kThreads) unpack_state_kernel(WKV_ARGUMENTS PackStateArguments a) {
  begin_next_kernel();
  await_previous_kernel();
  const Group group = group_of_block(a);
  const float scale = group.exact ? 1 : load_float(group.packed);
  for (int i = thread_index(); i < group.count; i += kThreads) {
    group.numbers[i] = group.exact ? load_float(group.packed + 2 * static_cast<std::ptrdiff_t>(i))
                                   : from_f16(group.packed[2 + i]) * scale;
  }
}

Grid grid_of(const PackStateArguments& arguments) {
  unsigned groups = 0;
  for (int i = 0; i < arguments.count; ++i) groups += static_cast<unsigned>(groups_of(arguments.parts[i]));
  return {groups, static_cast<unsigned>(arguments.layers), kThreads, sizeof(Shared)};
}

}  // namespace

void pack_state(const PackStateArguments& arguments, cudaStream_t stream) {
  launch(pack_state_kernel, grid_of(arguments), stream, arguments);
}

void unpack_state(const PackStateArguments& arguments, cudaStream_t stream) {
  launch(unpack_state_kernel, grid_of(arguments), stream, arguments);
}

}  // namespace wkv::cuda
