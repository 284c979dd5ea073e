#pragma once

// A state's numbers packed, in half the memory, and unpacked: the bytes and bits of pack() and unpack()
// (native/engine/state.h), but that denormal numbers count as 0, and for groups of finite numbers.

#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

// A part of each layer. A packed group of its numbers is a scale, a float that is a power of two, and then
// the numbers divided by it, in f16.
struct StatePart {
  int count;  // of numbers
  int group;  // divides count; 0: the numbers stay floats
};

constexpr int kMaxStateParts = 5;

struct PackStateArguments {
  float* numbers;         // [layers][part by part]
  std::uint16_t* packed;  // likewise
  StatePart parts[kMaxStateParts];
  int count;  // of parts
  int layers;
};

// Floats and what stays floats are as many halves as they take.
WKV_BOTH std::ptrdiff_t packed_halves(const StatePart& part) {
  if (part.group == 0) return 2 * static_cast<std::ptrdiff_t>(part.count);
  return part.count + 2 * static_cast<std::ptrdiff_t>(part.count / part.group);
}

// packed = numbers, and the other way round.
void pack_state(const PackStateArguments& arguments, cudaStream_t stream);
void unpack_state(const PackStateArguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
