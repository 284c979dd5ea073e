#pragma once

// Everything that is not C++ but an extension of a compiler: of gcc and clang on one side (clang-cl
// included), of MSVC on the other. The branches for MSVC were never compiled: they are written from
// Microsoft's documentation of its intrinsics.
//
// The functions are static, each file's own. Files for different instruction sets include them, and a copy
// compiled for AVX-512 must never be the one that the linker keeps for a machine without it.

#include <cstdint>

#include "kernels/simd/fma_in_double.h"

#if defined(__x86_64__) || defined(_M_X64)
#define WKV_X64 1
#include <immintrin.h>
#elif defined(__aarch64__) || defined(_M_ARM64)
#define WKV_ARM64 1
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define WKV_MSVC 1
#include <intrin.h>
#include <math.h>
#include <string.h>
#else
#if WKV_X64
#include <cpuid.h>
#endif
// Weights, states and vocabularies are little-endian in files and are used as they are; Windows always is.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "wkv runs on little-endian processors only");
#endif

namespace wkv::compiler {

#if WKV_MSVC
constexpr float kInfinity = HUGE_VALF;
#else
constexpr float kInfinity = __builtin_inff();
#endif

// Added to a number below 2^22 and taken away again, it rounds to the nearest integer, ties to even.
constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23

static inline float sqrt(float a) {
#if WKV_MSVC
  return ::sqrtf(a);
#else
  return __builtin_sqrtf(a);
#endif
}

// a * b + c, rounded once.
static inline float fma(float a, float b, float c) {
#if defined(_WIN32)
  // mingw's fmaf rounds twice; Microsoft's was never tried.
  return fma_in_double(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

static inline double log(double a) {
#if WKV_MSVC
  return ::log(a);
#else
  return __builtin_log(a);
#endif
}

static inline float float_of(std::int32_t bits) {
#if WKV_MSVC
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
#else
  return __builtin_bit_cast(float, bits);
#endif
}
static inline std::int32_t bits_of(float value) {
#if WKV_MSVC
  std::int32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
#else
  return __builtin_bit_cast(std::int32_t, value);
#endif
}

// The number of zeros below the lowest bit that is set; `bits` is not 0.
static inline int trailing_zeros(std::uint32_t bits) {
#if WKV_MSVC
  unsigned long index;
  _BitScanForward(&index, bits);
  return static_cast<int>(index);
#else
  return __builtin_ctz(bits);
#endif
}

// Asks for the cache line at p; p may point anywhere. A macro: around a function, gcc 12 compiled the
// innermost loop of the matrix product to one that gave a fifth fewer tokens.
#if WKV_MSVC && WKV_X64
#define WKV_PREFETCH(p) _mm_prefetch(p, _MM_HINT_T0)
#elif WKV_MSVC
#define WKV_PREFETCH(p) __prefetch(p)
#else
#define WKV_PREFETCH(p) __builtin_prefetch(p)
#endif

// Before a loop with a constant number of turns, at most 32, that goes over an array of sums: the array can
// live in registers. Left to itself, gcc unrolls such a loop only after it has given the array a place in
// memory, where every sum is then loaded and stored at every turn. The portable form's sums are arrays
// themselves: copies of its loops would only be large.
#if WKV_MSVC || !(WKV_ISA_AVX512 || WKV_ISA_AVX2 || WKV_ISA_NEON)
#define WKV_UNROLLED
#elif defined(__clang__)
#define WKV_UNROLLED _Pragma("clang loop unroll(full)")
#else
#define WKV_UNROLLED _Pragma("GCC unroll 32")
#endif

// In front of functions whose arguments are such arrays: called, they would be in memory after all.
#if !(WKV_ISA_AVX512 || WKV_ISA_AVX2 || WKV_ISA_NEON)
#define WKV_INLINE inline
#elif WKV_MSVC
#define WKV_INLINE __forceinline
#else
#define WKV_INLINE [[gnu::always_inline]] inline
#endif

#if WKV_DOT_I8MM && defined(__GNUC__) && !defined(__clang__)
// gcc 12 moves loads up until the sums of gemm_int8 no longer fit into the registers.
#pragma GCC optimize("no-schedule-insns")
#endif

// Tells the processor that this thread waits for another one in a loop.
static inline void pause() {
#if WKV_X64
  _mm_pause();
#elif WKV_ARM64 && WKV_MSVC
  __yield();
#elif WKV_ARM64
  __asm__ volatile("yield");
#endif
}

// How this thread computes with floats, as a register of the processor's has it.
static inline std::uint64_t float_control() {
#if WKV_X64
  return _mm_getcsr();
#elif WKV_ARM64 && WKV_MSVC
  return static_cast<std::uint64_t>(_ReadStatusReg(ARM64_FPCR));
#elif WKV_ARM64
  std::uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  return control;
#else
  return 0;
#endif
}
static inline void set_float_control([[maybe_unused]] std::uint64_t control) {
#if WKV_X64
  _mm_setcsr(static_cast<std::uint32_t>(control));
#elif WKV_ARM64 && WKV_MSVC
  _WriteStatusReg(ARM64_FPCR, static_cast<__int64>(control));
#elif WKV_ARM64
  __asm__ volatile("msr fpcr, %0" : : "r"(control));
#endif
}

// From now on this thread takes denormal numbers as zero, as operands and as results.
static inline void flush_denormals() {
#if WKV_X64
  constexpr std::uint64_t kFlush = 0x8040;  // flush to zero, denormals are zero
#else
  constexpr std::uint64_t kFlush = std::uint64_t{1} << 24U;
#endif
  set_float_control(float_control() | kFlush);
}

#if WKV_X64

struct CpuId {
  std::uint32_t eax, ebx, ecx, edx;
};

// The answer to a leaf of CPUID; leaf 0 gives the last one in eax.
static inline CpuId cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
#if WKV_MSVC
  int registers[4];
  __cpuidex(registers, static_cast<int>(leaf), static_cast<int>(subleaf));
  return {static_cast<std::uint32_t>(registers[0]), static_cast<std::uint32_t>(registers[1]),
          static_cast<std::uint32_t>(registers[2]), static_cast<std::uint32_t>(registers[3])};
#else
  CpuId id;
  __cpuid_count(leaf, subleaf, id.eax, id.ebx, id.ecx, id.edx);
  return id;
#endif
}

// XCR0: which registers the operating system saves. Only where CPUID leaf 1 reports OSXSAVE.
static inline std::uint64_t xcr0() {
#if WKV_MSVC
  return _xgetbv(0);
#else
  std::uint32_t low;
  std::uint32_t high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32U | low;
#endif
}

#if WKV_DOT_AVX512VNNI
// The four bytes at `quad`, in all lanes.
static inline __m512i load_quad(const std::int8_t* quad) {
  return _mm512_set1_epi32(*reinterpret_cast<const int*>(quad));
}

// sums + the products of sixteen quads of weights with the four bytes at `quad`. As the instruction's operand
// in memory, the four bytes take no instruction of their own; compilers broadcast them to a register first.
static inline __m512i dot_with_quad(__m512i sums, __m512i weights, const std::int8_t* quad) {
#if WKV_MSVC || WKV_NO_ASSEMBLER
  return _mm512_dpbusd_epi32(sums, weights, load_quad(quad));
#else
  struct Quad {
    std::int8_t bytes[4];
  };
  __asm__("vpdpbusd %2%{1to16%}, %1, %0"
          : "+v"(sums)
          : "v"(weights), "m"(*reinterpret_cast<const Quad*>(quad)));
  return sums;
#endif
}
#endif

#endif

}  // namespace wkv::compiler
