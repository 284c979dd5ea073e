#pragma once

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace wkv {

// Makes this thread treat denormal numbers as zero, as operands and as results. A decayed state is full of
// them, and they are some fifty times slower. Called once at the start of every thread that runs kernels.
inline void flush_denormals() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_setcsr(_mm_getcsr() | 0x8040U);  // flush to zero, denormals are zero
#elif defined(__aarch64__)
  std::uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  control |= std::uint64_t{1} << 24U;  // FZ
  __asm__ volatile("msr fpcr, %0" : : "r"(control));
#endif
}

}  // namespace wkv
