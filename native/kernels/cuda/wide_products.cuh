#pragma once

// Products by four warps together, a warpgroup, which are computed in the background from shared memory (PTX
// ISA, wgmma). Only GPUs of compute capability 9.0 have them, and only code that is compiled for sm_90a.

#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

// The shared memory that a block may have there.
constexpr std::size_t kMaxWideSharedBytes = std::size_t{227} << 10;

#if defined(__CUDACC__)

// Whether the GPU has products by warpgroups and there is code for them, which who compiles has to say.
inline bool has_wide_products() {
#if defined(WKV_WIDE_PRODUCTS)
  return attribute_of_device(cudaDevAttrComputeCapabilityMajor) == 9;
#else
  return false;
#endif
}
#if defined(WKV_WIDE_PRODUCTS) && __CUDA_ARCH__ == 900 && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#error "with WKV_WIDE_PRODUCTS, sm_90a is to be compiled instead of sm_90"
#endif

// A matrix in shared memory is of parts of eight rows of sixteen bytes one after another. Steps are in rows:
// to the part with the next columns, and to that with the next rows.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDA_ARCH__)
constexpr bool kHasWideProducts = true;
struct SharedMatrix {
  std::uint64_t descriptor;
  WKV_DEVICE SharedMatrix from_row(int row) const { return {descriptor + static_cast<unsigned>(row)}; }
};
WKV_DEVICE SharedMatrix shared_matrix(const Words4* first, int columns_step, int rows_step) {
  // Above them is the block's rank in its cluster.
  constexpr std::uint64_t kAddressBits = 0x3ffff;
  return {(__cvta_generic_to_shared(first) & kAddressBits) >> 4U |
          static_cast<std::uint64_t>(columns_step) << 16U | static_cast<std::uint64_t>(rows_step) << 32U};
}
// sums = weights * codes, or sums += that, for 64 rows, 32 columns and kTokens tokens. Of tile t a lane has
// the sums[t] that multiply_add() would leave it, its warp the warpgroup's rows 16 warp to 16 warp + 15. They
// are there once wait_products() has returned; until then nobody may touch them.
template <int kTokens>
WKV_DEVICE void multiply_wide(std::int32_t (&sums)[static_cast<std::size_t>(kTokens / 8)][4],
                              const SharedMatrix& weights, const SharedMatrix& codes, bool add);
#define WKV_SUMS(tile) "+r"(sums[tile][0]), "+r"(sums[tile][1]), "+r"(sums[tile][2]), "+r"(sums[tile][3])
template <>
WKV_DEVICE void multiply_wide<64>(std::int32_t (&sums)[8][4], const SharedMatrix& weights,
                                  const SharedMatrix& codes, bool add) {
  asm volatile(
      "{ .reg .pred add; setp.ne.b32 add, %34, 0; wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31},"
      " %32, %33, add; }"
      : WKV_SUMS(0), WKV_SUMS(1), WKV_SUMS(2), WKV_SUMS(3), WKV_SUMS(4), WKV_SUMS(5), WKV_SUMS(6), WKV_SUMS(7)
      : "l"(weights.descriptor), "l"(codes.descriptor), "r"(add ? 1 : 0));
}
template <>
WKV_DEVICE void multiply_wide<128>(std::int32_t (&sums)[16][4], const SharedMatrix& weights,
                                   const SharedMatrix& codes, bool add) {
  asm volatile(
      "{ .reg .pred add; setp.ne.b32 add, %66, 0; wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63},"
      " %64, %65, add; }"
      : WKV_SUMS(0), WKV_SUMS(1), WKV_SUMS(2), WKV_SUMS(3), WKV_SUMS(4), WKV_SUMS(5), WKV_SUMS(6),
        WKV_SUMS(7), WKV_SUMS(8), WKV_SUMS(9), WKV_SUMS(10), WKV_SUMS(11), WKV_SUMS(12), WKV_SUMS(13),
        WKV_SUMS(14), WKV_SUMS(15)
      : "l"(weights.descriptor), "l"(codes.descriptor), "r"(add ? 1 : 0));
}
#undef WKV_SUMS
// To be called before the first product of a batch.
WKV_DEVICE void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// What was begun since the last call is a batch.
WKV_DEVICE void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Returns once at most the last kPending batches are still computed.
template <int kPending>
WKV_DEVICE void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Sums may be read from here on, after wait_products().
WKV_DEVICE void receive(std::int32_t (&sums)[4]) {
  asm volatile("" : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])::"memory");
}
// After a barrier, products may read what this thread's copies brought, and copies of whole blocks may take
// the place of what it has read.
WKV_DEVICE void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
#else
constexpr bool kHasWideProducts = false;
// Never called.
struct SharedMatrix {
  WKV_DEVICE SharedMatrix from_row(int) const { return {}; }
};
WKV_DEVICE SharedMatrix shared_matrix(const Words4*, int, int) { return {}; }
template <int kTokens>
WKV_DEVICE void multiply_wide(std::int32_t (&)[static_cast<std::size_t>(kTokens / 8)][4], const SharedMatrix&,
                              const SharedMatrix&, bool) {}
WKV_DEVICE void begin_products() {}
WKV_DEVICE void commit_products() {}
template <int kPending>
WKV_DEVICE void wait_products() {}
WKV_DEVICE void receive(std::int32_t (&)[4]) {}
WKV_DEVICE void fence_proxy_async() {}
#endif

#else

struct SharedMatrix {
  const Words4* first;
  int columns_step;
  int rows_step;
  SharedMatrix from_row(int row) const { return {first + row, columns_step, rows_step}; }
};
inline SharedMatrix shared_matrix(const Words4* first, int columns_step, int rows_step) {
  return {first, columns_step, rows_step};
}
constexpr bool kHasWideProducts = true;
inline bool has_wide_products() { return simt::architecture() == 90; }
template <int kTokens>
void multiply_wide(std::int32_t (&sums)[static_cast<std::size_t>(kTokens / 8)][4],
                   const SharedMatrix& weights, const SharedMatrix& codes, bool add) {
  simt::begin_product({&sums[0][0],
                       kTokens,
                       {weights.first, weights.columns_step, weights.rows_step},
                       {codes.first, codes.columns_step, codes.rows_step},
                       add});
}
inline void begin_products() { simt::begin_products(); }
inline void commit_products() { simt::commit_products(); }
template <int kPending>
void wait_products() {
  simt::wait_products(kPending);
}
inline void receive(std::int32_t (&)[4]) {}
inline void fence_proxy_async() { simt::show_copies(); }

#endif

}  // namespace wkv::cuda
