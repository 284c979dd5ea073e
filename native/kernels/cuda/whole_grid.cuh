#pragma once

// Kernels whose blocks all run at the same time (Grid::together), and wait for each other.

#include "kernels/cuda/launch.cuh"

namespace wkv::cuda {

// A barrier of all threads of a grid. What they did before it, each of them sees after it. Between arrive()
// and wait() a block can do what concerns no other.
//
// `arrived` is in the GPU's memory, 0 before the first launch, and of one launch at a time. It counts blocks,
// and is never set back: a launch leaves a multiple of its number of blocks, and begins by looking which.
#if defined(__CUDACC__)

class WholeGrid {
 public:
  WKV_DEVICE explicit WholeGrid(std::uint64_t* arrived) : arrived_(arrived), awaited_(0) {
    // The first barrier may have been reached by others, but not by all.
    if (thread_index() == 0) awaited_ = count() / blocks() * blocks();
  }

  WKV_DEVICE void arrive() {
    sync_block();
    if (thread_index() != 0) return;
    awaited_ += blocks();
    // Also for the other threads of the block, whose barrier comes before it (PTX ISA, causality order).
    asm volatile("red.release.gpu.global.add.u64 [%0], 1;" ::"l"(arrived_) : "memory");
  }
  WKV_DEVICE void wait() {
    if (thread_index() == 0) {
      while (count() < awaited_) {
      }
    }
    sync_block();
  }
  WKV_DEVICE void sync() {
    arrive();
    wait();
  }

 private:
  WKV_DEVICE static std::uint64_t blocks() { return std::uint64_t{gridDim.x} * gridDim.y; }
  WKV_DEVICE std::uint64_t count() const {
    std::uint64_t count;
    asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(count) : "l"(arrived_) : "memory");
    return count;
  }

  std::uint64_t* arrived_;
  std::uint64_t awaited_;
};

// Whether all blocks of the grid can run at the same time.
template <class Arguments>
bool fits_together(void (*kernel)(Arguments), const Grid& grid) {
  if (max_shared_bytes() < grid.shared_bytes || attribute_of_device(cudaDevAttrCooperativeLaunch) == 0) {
    return false;
  }
  const LaunchConfig config(kernel, grid, nullptr);  // asks for the shared memory
  int blocks = 0;                                    // of a processor
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, static_cast<int>(grid.threads),
                                                grid.shared_bytes);
  return static_cast<unsigned>(blocks * processor_count()) >= grid.x * grid.y;
}

#else

class WholeGrid {
 public:
  explicit WholeGrid(std::uint64_t*) {}

  void arrive(int line = __builtin_LINE()) {
    sync_block(line);
    ++phase_;
    if (thread_index() == 0) simt::arrive_at_grid();
  }
  void wait(int line = __builtin_LINE()) const {
    if (thread_index() == 0) simt::wait_for_grid(phase_, line);
    sync_block(line);
  }
  void sync(int line = __builtin_LINE()) {
    arrive(line);
    wait(line);
  }

 private:
  unsigned phase_ = 0;
};

template <class Arguments>
bool fits_together(void (*)(Arguments), const Grid& grid) {
  return grid.x * grid.y <= simt::kProcessors && grid.shared_bytes <= max_shared_bytes();
}

#endif

}  // namespace wkv::cuda
