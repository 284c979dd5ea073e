#pragma once

// What kernels have of CUDA that is no C++: keywords, and the instructions that C++ has no words for. The
// rest is beside it: launch.cuh, wide_products.cuh, clusters.cuh and whole_grid.cuh. With these alone the
// same source is compiled twice: by nvcc for a GPU, and by any C++ compiler with native/simt in a GPU's
// place, for tests on machines without one.
//
// All shared memory is dynamic: a kernel's struct, shared_memory<Struct>(), or an array,
// shared_array<Element>(), of the bytes that the launch says, at most max_shared_bytes(). Kernels take one
// struct of arguments. Blocks have whole warps, and every lane of a warp takes part in what the warp does.
//
// Nothing is contracted (--fmad=false): what is one rounding says fused(). Divisions, roots and fused() are
// those of IEEE 754 on both sides, and so are the bits. Denormal numbers are taken as zero (--ftz=true), as
// the CPU's threads do.

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#include <cuda_runtime.h>

// The most threads of a block, and perhaps how many blocks have to find room on a processor at once, which
// says how many registers a thread may have.
#define WKV_KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)
#define WKV_ARGUMENTS const __grid_constant__
#define WKV_DEVICE __device__ __forceinline__
#define WKV_FUNCTION __device__ __noinline__ inline
#define WKV_BOTH __host__ __device__ __forceinline__
#define WKV_UNROLL _Pragma("unroll")
#define WKV_UNROLL_8 _Pragma("unroll 8")
// Where copies of a loop's body would take registers.
#define WKV_KEEP_LOOP _Pragma("unroll 1")
#else
#include "simt/runtime.h"
#include "simt/simt.h"

#define WKV_KERNEL(...) void
#define WKV_ARGUMENTS const
#define WKV_DEVICE inline
#define WKV_FUNCTION inline
#define WKV_BOTH inline
#define WKV_UNROLL
#define WKV_UNROLL_8
#define WKV_KEEP_LOOP
#endif

namespace wkv::cuda {

constexpr int kWarp = 32;
// What every GPU has for a block that asks for it.
constexpr std::size_t kMaxSharedBytes = std::size_t{64} << 10;

// Sixteen bytes that are loaded and stored at once.
struct alignas(16) Words4 {
  std::uint32_t x, y, z, w;
};
struct alignas(16) Floats4 {
  float x, y, z, w;
};
struct alignas(8) Floats2 {
  float x, y;
};
struct alignas(8) Words2 {
  std::uint32_t x, y;
};
#if defined(__CUDACC__)

WKV_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
// The value; what is computed from it anew need not be kept in registers over a long loop.
WKV_DEVICE int anew(int value) {
  asm volatile("" : "+r"(value));
  return value;
}
WKV_DEVICE int block_threads() { return static_cast<int>(blockDim.x); }
WKV_DEVICE int block_x() { return static_cast<int>(blockIdx.x); }
WKV_DEVICE int block_y() { return static_cast<int>(blockIdx.y); }

template <class Shared>
WKV_DEVICE Shared& shared_memory() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return *reinterpret_cast<Shared*>(bytes);
}

template <class Element>
WKV_DEVICE Element* shared_array() {
  return &shared_memory<Element>();
}

WKV_DEVICE void sync_block() { __syncthreads(); }
WKV_DEVICE void sync_warp() { __syncwarp(); }

WKV_DEVICE float shuffle_xor(float value, int mask) { return __shfl_xor_sync(0xffffffffU, value, mask); }
WKV_DEVICE int shuffle_xor(int value, int mask) { return __shfl_xor_sync(0xffffffffU, value, mask); }
WKV_DEVICE unsigned shuffle_xor(unsigned value, int mask) {
  return __shfl_xor_sync(0xffffffffU, value, mask);
}
WKV_DEVICE double shuffle_xor(double value, int mask) { return __shfl_xor_sync(0xffffffffU, value, mask); }

WKV_DEVICE float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
WKV_DEVICE double fused(double a, double b, double c) { return __fma_rn(a, b, c); }
WKV_DEVICE float root(float a) { return __fsqrt_rn(a); }
// To the nearest integer, ties to even.
WKV_DEVICE int nearest(float a) { return __float2int_rn(a); }
// Of a power of two.
WKV_DEVICE int log2_of(int power) { return 31 - __clz(power); }
// The low bytes of four words, the first one lowest.
WKV_DEVICE std::uint32_t low_bytes(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}
// Byte i of the result is that of `low` and `high` (bytes 4 to 7) which the three low bits of the selectors'
// half byte i name; where the half byte's highest bit is set, it is the sign of that byte, eight times.
WKV_DEVICE std::uint32_t select_bytes(std::uint32_t low, std::uint32_t high, std::uint32_t selectors) {
  std::uint32_t bytes;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(bytes) : "r"(low), "r"(high), "r"(selectors));
  return bytes;
}
WKV_DEVICE std::uint32_t bits_of(float a) { return __float_as_uint(a); }
WKV_DEVICE float float_of(std::uint32_t bits) { return __uint_as_float(bits); }
WKV_DEVICE std::uint64_t bits_of(double a) { return static_cast<std::uint64_t>(__double_as_longlong(a)); }
WKV_DEVICE double double_of(std::uint64_t bits) { return __longlong_as_double(static_cast<long long>(bits)); }
WKV_DEVICE float from_f16(std::uint16_t half) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
  return value;
}
// Rounded to the nearest, ties to even.
WKV_DEVICE std::uint16_t to_f16(float value) {
  std::uint16_t half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
  return half;
}

// sum + weights[0] codes[0] + weights[1] codes[1] + ..., of sixteen signed bytes.
WKV_DEVICE std::int32_t add_products(const Words4& weights, const Words4& codes, std::int32_t sum) {
  const auto add = [&](std::uint32_t a, std::uint32_t b) {
    sum = __dp4a(static_cast<int>(a), static_cast<int>(b), sum);
  };
  add(weights.x, codes.x);
  add(weights.y, codes.y);
  add(weights.z, codes.z);
  add(weights.w, codes.w);
  return sum;
}

// Four matrices of eight rows of sixteen bytes: lanes 8 i to 8 i + 7 name the rows of matrix i, 16-byte
// aligned in shared memory. Lane (row, quad) = (lane / 4, lane % 4) gets the word `quad` of that row of each.
WKV_DEVICE Words4 load_rows(const Words4* row) {
  Words4 words;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
  return words;
}

#if __CUDA_ARCH__ >= 800
// sums += weights * codes for 16 rows, 32 columns and 8 tokens, of signed bytes (PTX ISA,
// mma.m16n8k32). With row = lane / 4 and quad = lane % 4 a lane has
//   weights  the bytes [row][4 quad ...], [row + 8][4 quad ...], [row][16 + 4 quad ...], [row + 8][16 + 4
//            quad ...]
//   low      the bytes of the token `row`, columns 4 quad ...; high: 16 columns further
//   sums     [row][2 quad], [row][2 quad + 1], [row + 8][2 quad], [row + 8][2 quad + 1]; the second is the
//            token
WKV_DEVICE void multiply_add(std::int32_t (&sums)[4], const Words4& weights, std::uint32_t low,
                             std::uint32_t high) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(weights.x), "r"(weights.y), "r"(weights.z), "r"(weights.w), "r"(low), "r"(high));
}
// products = weights * codes for the first 16 of these columns (mma.m16n8k16); the weights' bytes are
// [row][4 quad ...] and [row + 8][4 quad ...].
WKV_DEVICE void multiply_unit(std::int32_t (&products)[4], const Words2& weights, std::uint32_t codes) {
  asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%7,%7,%7};"
      : "=r"(products[0]), "=r"(products[1]), "=r"(products[2]), "=r"(products[3])
      : "r"(weights.x), "r"(weights.y), "r"(codes), "r"(0));
}
// The same as multiply_add for sums that are all `begin` before.
WKV_DEVICE void multiply_from(std::int32_t begin, std::int32_t (&sums)[4], const Words4& weights,
                              std::uint32_t low, std::uint32_t high) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%10,%10,%10,%10};"
      : "=r"(sums[0]), "=r"(sums[1]), "=r"(sums[2]), "=r"(sums[3])
      : "r"(weights.x), "r"(weights.y), "r"(weights.z), "r"(weights.w), "r"(low), "r"(high), "r"(begin));
}
#else
// The same for 8 rows and 16 columns (mma.m8n8k16), of which the above is four.
WKV_DEVICE void multiply_add_8(std::int32_t& first, std::int32_t& second, std::uint32_t weights,
                               std::uint32_t codes) {
  asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
      : "+r"(first), "+r"(second)
      : "r"(weights), "r"(codes));
}
WKV_DEVICE void multiply_add(std::int32_t (&sums)[4], const Words4& weights, std::uint32_t low,
                             std::uint32_t high) {
  multiply_add_8(sums[0], sums[1], weights.x, low);
  multiply_add_8(sums[2], sums[3], weights.y, low);
  multiply_add_8(sums[0], sums[1], weights.z, high);
  multiply_add_8(sums[2], sums[3], weights.w, high);
}
WKV_DEVICE void multiply_unit(std::int32_t (&products)[4], const Words2& weights, std::uint32_t codes) {
  for (std::int32_t& product : products) product = 0;
  multiply_add_8(products[0], products[1], weights.x, codes);
  multiply_add_8(products[2], products[3], weights.y, codes);
}
WKV_DEVICE void multiply_from(std::int32_t begin, std::int32_t (&sums)[4], const Words4& weights,
                              std::uint32_t low, std::uint32_t high) {
  for (std::int32_t& sum : sums) sum = begin;
  multiply_add(sums, weights, low, high);
}
#endif

#if __CUDA_ARCH__ >= 800
// Begins to copy sixteen bytes to shared memory, past the first-level cache. They are there for this thread
// once wait_copies() has returned, for others after a barrier as well.
WKV_DEVICE void begin_copy(Words4* shared, const unsigned char* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(shared))),
               "l"(global)
               : "memory");
}
// The same for a single number.
WKV_DEVICE void begin_copy(float* shared, const unsigned char* global) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(shared))),
               "l"(global)
               : "memory");
}
// What was begun since the last call is a batch; also one of nothing.
WKV_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Returns once at most the last kPending batches are still on their way.
template <int kPending>
WKV_DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}
#else
WKV_DEVICE void begin_copy(Words4* shared, const unsigned char* global) {
  *shared = *reinterpret_cast<const Words4*>(global);
}
WKV_DEVICE void begin_copy(float* shared, const unsigned char* global) {
  *shared = *reinterpret_cast<const float*>(global);
}
WKV_DEVICE void commit_copies() {}
template <int kPending>
WKV_DEVICE void wait_copies() {}
#endif

// A kernel begins while the one before it still runs, where the GPU can do that. Until
// await_previous_kernel() it may only read what no kernel of the same step writes before it; each kernel has
// to call it.
#if __CUDA_ARCH__ >= 900
WKV_DEVICE void await_previous_kernel() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
// The next one may begin once all blocks were here.
WKV_DEVICE void begin_next_kernel() { asm volatile("griddepcontrol.launch_dependents;" :::); }
#else
WKV_DEVICE void await_previous_kernel() {}
WKV_DEVICE void begin_next_kernel() {}
#endif
// Stores neighbouring numbers at once, to a place that is aligned to all of them: nvcc may store those of a
// struct one by one.
WKV_DEVICE void store_together(float* place, const float (&numbers)[2]) {
  asm volatile("st.global.v2.f32 [%0], {%1, %2};" ::"l"(place), "f"(numbers[0]), "f"(numbers[1]) : "memory");
}
WKV_DEVICE void store_together(float* place, const float (&numbers)[4]) {
  asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(place), "f"(numbers[0]), "f"(numbers[1]),
               "f"(numbers[2]), "f"(numbers[3])
               : "memory");
}
// Begins to bring the 32 bytes around an address to the second-level cache.
WKV_DEVICE void expect_read(const float* place) { asm volatile("prefetch.global.L2 [%0];" ::"l"(place)); }

#else

inline int thread_index() { return simt::place().thread; }
inline int anew(int value) { return value; }
inline int block_threads() { return simt::place().threads; }
inline int block_x() { return simt::place().block_x; }
inline int block_y() { return simt::place().block_y; }

template <class Shared>
Shared& shared_memory() {
  return *static_cast<Shared*>(simt::shared_memory(sizeof(Shared)));
}

template <class Element>
Element* shared_array() {
  return static_cast<Element*>(simt::shared_memory(0));
}

inline void sync_block(int line = __builtin_LINE()) { simt::sync_block(line); }
inline void sync_warp(int line = __builtin_LINE()) { simt::sync_warp(line); }

template <class Number>
Number shuffle_xor(Number value, int mask, int line = __builtin_LINE()) {
  static_assert(sizeof value == sizeof(std::uint32_t));
  return __builtin_bit_cast(Number, simt::shuffle_xor(__builtin_bit_cast(std::uint32_t, value), mask, line));
}

// As two halves, which both meet at the line of the call.
inline double shuffle_xor(double value, int mask, int line = __builtin_LINE()) {
  const auto bits = __builtin_bit_cast(std::uint64_t, value);
  const std::uint64_t low = simt::shuffle_xor(static_cast<std::uint32_t>(bits), mask, line);
  const std::uint64_t high = simt::shuffle_xor(static_cast<std::uint32_t>(bits >> 32U), mask, line);
  return __builtin_bit_cast(double, high << 32U | low);
}

inline float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline float root(float a) { return __builtin_sqrtf(a); }
inline int nearest(float a) { return static_cast<int>(__builtin_rintf(a)); }
inline int log2_of(int power) { return __builtin_ctz(static_cast<unsigned>(power)); }
inline std::uint32_t low_bytes(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  return (a & 0xffU) | (b & 0xffU) << 8U | (c & 0xffU) << 16U | (d & 0xffU) << 24U;
}
inline std::uint32_t select_bytes(std::uint32_t low, std::uint32_t high, std::uint32_t selectors) {
  const std::uint64_t all = std::uint64_t{high} << 32U | low;
  std::uint32_t bytes = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const std::uint32_t selector = selectors >> 4U * i;
    const auto byte = static_cast<std::uint32_t>(all >> 8U * (selector & 7U)) & 0xffU;
    const std::uint32_t sign = byte >> 7U == 0 ? 0 : 0xffU;
    bytes |= ((selector & 8U) == 0 ? byte : sign) << 8U * i;
  }
  return bytes;
}
inline std::uint32_t bits_of(float a) { return __builtin_bit_cast(std::uint32_t, a); }
inline float float_of(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }
inline std::uint64_t bits_of(double a) { return __builtin_bit_cast(std::uint64_t, a); }
inline double double_of(std::uint64_t bits) { return __builtin_bit_cast(double, bits); }
inline float from_f16(std::uint16_t half) { return simt::from_f16(half); }
inline std::uint16_t to_f16(float value) { return simt::to_f16(value); }

inline void multiply_add(std::int32_t (&sums)[4], const Words4& weights, std::uint32_t low,
                         std::uint32_t high, int line = __builtin_LINE()) {
  if (simt::architecture() >= 80) {
    simt::mma_m16n8k32({sums, {weights.x, weights.y, weights.z, weights.w}, {low, high}}, line);
    return;
  }
  simt::mma_m8n8k16({sums, weights.x, low}, line);
  simt::mma_m8n8k16({sums + 2, weights.y, low}, line);
  simt::mma_m8n8k16({sums, weights.z, high}, line);
  simt::mma_m8n8k16({sums + 2, weights.w, high}, line);
}

inline void multiply_unit(std::int32_t (&products)[4], const Words2& weights, std::uint32_t codes,
                          int line = __builtin_LINE()) {
  for (std::int32_t& product : products) product = 0;
  simt::mma_m8n8k16({products, weights.x, codes}, line);
  simt::mma_m8n8k16({products + 2, weights.y, codes}, line);
}

inline void multiply_from(std::int32_t begin, std::int32_t (&sums)[4], const Words4& weights,
                          std::uint32_t low, std::uint32_t high, int line = __builtin_LINE()) {
  for (std::int32_t& sum : sums) sum = begin;
  multiply_add(sums, weights, low, high, line);
}

inline Words4 load_rows(const Words4* row, int line = __builtin_LINE()) {
  const Words4 own = *row;
  std::uint32_t words[4];
  simt::distribute_rows({{own.x, own.y, own.z, own.w}, words}, line);
  return {words[0], words[1], words[2], words[3]};
}

inline void await_previous_kernel() {}
inline void begin_next_kernel() {}

inline void store_together(float* place, const float (&numbers)[2]) {
  *reinterpret_cast<Floats2*>(place) = {numbers[0], numbers[1]};
}
inline void store_together(float* place, const float (&numbers)[4]) {
  *reinterpret_cast<Floats4*>(place) = {numbers[0], numbers[1], numbers[2], numbers[3]};
}

inline std::int32_t add_products(const Words4& weights, const Words4& codes, std::int32_t sum) {
  const auto add = [&](std::uint32_t a, std::uint32_t b) {
    for (int shift = 0; shift < 32; shift += 8) {
      sum += static_cast<std::int8_t>(a >> shift) * static_cast<std::int8_t>(b >> shift);
    }
  };
  add(weights.x, codes.x);
  add(weights.y, codes.y);
  add(weights.z, codes.z);
  add(weights.w, codes.w);
  return sum;
}

inline void begin_copy(Words4* shared, const unsigned char* global) {
  simt::begin_copy(shared, global, sizeof *shared);
}
inline void begin_copy(float* shared, const unsigned char* global) {
  simt::begin_copy(shared, global, sizeof *shared);
}
inline void commit_copies() { simt::commit_copies(); }
template <int kPending>
void wait_copies() {
  simt::wait_copies(kPending);
}

inline void expect_read(const float*) {}

#endif

// For a whole number i below 2^22 in size: integer_of(i + kFloatOfInteger) is i. Faster than a conversion.
constexpr std::int32_t kFloatOfInteger = 0x4b400000;  // the bits of 1.5 * 2^23
constexpr float kIntegersFloat = 12'582'912;
WKV_DEVICE float integer_of(std::int32_t bits) {
  return float_of(static_cast<std::uint32_t>(bits)) - kIntegersFloat;
}
// The other way round: the low byte is that of the nearest whole number, ties to even.
WKV_DEVICE std::uint32_t bits_of_nearest(float value) { return bits_of(value + kIntegersFloat); }

// Sums, and the largest, over the lanes of a warp; every lane gets the same bits.
template <class Number>
WKV_DEVICE Number warp_sum(Number value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}
WKV_DEVICE std::uint32_t warp_largest(std::uint32_t value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  return __reduce_max_sync(0xffffffffU, value);
#else
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const std::uint32_t other = shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  return value;
#endif
}

}  // namespace wkv::cuda
