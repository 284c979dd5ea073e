#pragma once

// Numbers that a file or a matrix stores each by itself.

#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

enum class ElementType : int { kF32 = 0, kF16 = 1, kBf16 = 2 };

WKV_DEVICE float element(const void* elements, ElementType type, std::ptrdiff_t index) {
  if (type == ElementType::kF32) return static_cast<const float*>(elements)[index];
  const std::uint16_t half = static_cast<const std::uint16_t*>(elements)[index];
  return type == ElementType::kF16 ? from_f16(half) : float_of(static_cast<std::uint32_t>(half) << 16U);
}

}  // namespace wkv::cuda
