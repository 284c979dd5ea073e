#pragma once

// Clusters: blocks that run at the same time, and reach each other's shared memory. And what they need for
// it: copies of any multiple of sixteen bytes by the copy engine (TMA) to one block or to several at once,
// which arrive at barriers in shared memory (mbarrier). GPUs of compute capability 9.0 and later have them.
//
// A barrier has phases. A phase is complete once so many have arrived as the barrier was made for, and as
// many bytes as they expect; then the next one begins. Phases have parities by turns, 0 first.

#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

struct alignas(8) Barrier {
  std::uint64_t opaque;
};

#if defined(__CUDACC__)

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
// Of the block, in its cluster: x first.
WKV_DEVICE int cluster_rank() {
  int rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// How many blocks of a cluster are side by side.
WKV_DEVICE int cluster_width() {
  int width;
  asm("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(width));
  return width;
}
// A barrier of all threads of the cluster. What they did before, each of them sees.
WKV_DEVICE void sync_cluster() {
  asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}

WKV_DEVICE unsigned address_of(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}
WKV_DEVICE void init_barrier(Barrier& barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address_of(&barrier)), "r"(arrivals)
               : "memory");
}
// To be called by who made barriers, before a barrier of the cluster: others and copies may use them then.
WKV_DEVICE void show_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// Arrives at a barrier of this block, and has the phase expect bytes of copies.
WKV_DEVICE void arrive_expecting(Barrier& barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address_of(&barrier)),
               "r"(bytes)
               : "memory");
}
// Arrives at the same barrier of a block of the cluster. What the thread's warp did before its last
// sync_warp(), who waits for the barrier may count on.
WKV_DEVICE void arrive_at(Barrier& barrier, int rank) {
  asm volatile(
      "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1;"
      " mbarrier.arrive.shared::cluster.b64 _, [remote]; }" ::"r"(address_of(&barrier)),
      "r"(rank)
      : "memory");
}
// Returns once the phase of this parity is complete, or the one before it is not yet.
WKV_DEVICE void wait_barrier(Barrier& barrier, int parity) {
  asm volatile(
      "{ .reg .pred complete;\n"
      "again: mbarrier.try_wait.parity.shared::cta.b64 complete, [%0], %1;\n"
      "@!complete bra again; }" ::"r"(address_of(&barrier)),
      "r"(parity)
      : "memory");
}
// Begins to copy to the blocks of the cluster whose bits are set, to the same place and barrier in each.
WKV_DEVICE void begin_bulk_copy(Words4* shared, const unsigned char* global, int bytes, Barrier& barrier,
                                unsigned mask) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster"
      " [%0], [%1], %2, [%3], %4;" ::"r"(address_of(shared)),
      "l"(global), "r"(bytes), "r"(address_of(&barrier)), "h"(static_cast<std::uint16_t>(mask))
      : "memory");
}
// The same to this block alone, which needs no cluster.
WKV_DEVICE void begin_bulk_copy(Words4* shared, const unsigned char* global, int bytes, Barrier& barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          address_of(shared)),
      "l"(global), "r"(bytes), "r"(address_of(&barrier))
      : "memory");
}
// Each warp of a warpgroup gives registers back, or gets some that others gave; `kRegisters` is what a thread
// has from here on, a multiple of 8.
template <int kRegisters>
WKV_DEVICE void keep_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}
template <int kRegisters>
WKV_DEVICE void take_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}
#else
// Never called.
template <int kRegisters>
WKV_DEVICE void keep_registers() {}
template <int kRegisters>
WKV_DEVICE void take_registers() {}
WKV_DEVICE int cluster_rank() { return 0; }
WKV_DEVICE int cluster_width() { return 1; }
WKV_DEVICE void sync_cluster() {}
WKV_DEVICE void init_barrier(Barrier&, int) {}
WKV_DEVICE void show_barriers() {}
WKV_DEVICE void arrive_expecting(Barrier&, int) {}
WKV_DEVICE void arrive_at(Barrier&, int) {}
WKV_DEVICE void wait_barrier(Barrier&, int) {}
WKV_DEVICE void begin_bulk_copy(Words4*, const unsigned char*, int, Barrier&, unsigned) {}
WKV_DEVICE void begin_bulk_copy(Words4*, const unsigned char*, int, Barrier&) {}
#endif

#else

template <int kRegisters>
void keep_registers() {}
template <int kRegisters>
void take_registers() {}
inline int cluster_rank() { return simt::place().rank; }
inline int cluster_width() { return simt::running().cluster_x; }
inline void sync_cluster(int line = __builtin_LINE()) { simt::sync_cluster(line); }
inline void init_barrier(Barrier& barrier, int arrivals) { simt::init_barrier(&barrier, arrivals); }
inline void show_barriers() { simt::show_barriers(); }
inline void arrive_expecting(Barrier& barrier, int bytes) { simt::arrive(&barrier, cluster_rank(), bytes); }
inline void arrive_at(Barrier& barrier, int rank) { simt::arrive(&barrier, rank, 0); }
inline void wait_barrier(Barrier& barrier, int parity, int line = __builtin_LINE()) {
  simt::wait_barrier(&barrier, parity, line);
}
inline void begin_bulk_copy(Words4* shared, const unsigned char* global, int bytes, Barrier& barrier,
                            unsigned mask) {
  simt::begin_bulk_copy({shared, global, static_cast<std::size_t>(bytes), &barrier, mask});
}
inline void begin_bulk_copy(Words4* shared, const unsigned char* global, int bytes, Barrier& barrier) {
  begin_bulk_copy(shared, global, bytes, barrier, 1U << cluster_rank());
}

#endif

}  // namespace wkv::cuda
