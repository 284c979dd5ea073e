#pragma once

// A GPU for tests, on one thread of a CPU. Every thread of a block is a fiber that runs until it meets the
// others: at a barrier, a shuffle, a product of matrices. Blocks, or clusters of them, run one after another.
//
// It finds what only goes wrong now and then on a GPU, or never on the one at hand: shared memory is filled
// with NaN before each block, what is copied in the background arrives at the wait and no earlier, threads
// run in any order that is asked for, and whoever misses a meeting, or comes to another one, is named. With
// races.h it also finds accesses that nothing puts in order.
//
// It cannot tell how fast anything is, nor what a real memory system does.

#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace wkv::cuda::simt {

// What a kernel did that it must not do.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// In which order the threads of a block take their turns.
enum class Order : std::uint8_t { kForward, kBackward, kShuffled };
void set_order(Order order, unsigned seed = 0);

// 75, 80 or 90: which instructions kernels use.
void set_architecture(int architecture);
int architecture();
// That a block may have.
std::size_t max_shared_bytes();
// So few that small products already keep them busy.
constexpr int kProcessors = 4;

// Threads that have run so far, over all launches: so that a test can tell that something was launched.
std::uint64_t threads_run();

struct Run {
  const char* name;
  int blocks_x;
  int blocks_y;
  int threads;
  std::size_t shared_bytes;
  int cluster_x = 1;  // blocks of a cluster
  int cluster_y = 1;
  bool together = false;  // whether all blocks run at the same time: then they are one cluster
  void (*kernel)() = nullptr;
  const void* arguments = nullptr;
  void (*call)(const Run& run) = nullptr;
};
// Runs all of it. Throws Failure; the memory that the kernel wrote to is then undefined.
void launch(const Run& run);

// From here on: of the thread that runs.

struct Place {
  int thread;
  int threads;
  int block_x;
  int block_y;
  int rank;  // of the block in its cluster: x first
};
const Place& place();
const Run& running();

void* shared_memory(std::size_t bytes);

// `line` is that of the call: all who meet must come from the same.
void sync_block(int line);
void sync_warp(int line);
std::uint32_t shuffle_xor(std::uint32_t value, int mask, int line);

// mma.m16n8k32 and mma.m8n8k16, as kernels/cuda/arch.cuh describes them; `sums` has four and two numbers.
struct Mma16832 {
  std::int32_t* sums;
  std::uint32_t weights[4];
  std::uint32_t codes[2];
};
void mma_m16n8k32(const Mma16832& lane, int line);
struct Mma8816 {
  std::int32_t* sums;
  std::uint32_t weights;
  std::uint32_t codes;
};
void mma_m8n8k16(const Mma8816& lane, int line);

// ldmatrix, x4.
struct Rows {
  std::uint32_t row[4];
  std::uint32_t* words;
};
void distribute_rows(const Rows& lane, int line);

// Of 4 or 16 bytes.
void begin_copy(void* shared, const void* global, std::size_t bytes);
void commit_copies();
void wait_copies(int pending);

// wgmma.m64nNk32, as kernels/cuda/wide_products.cuh describes it. Sums come at the wait, which is when
// matrices are read.
struct Matrix {
  const void* first;
  int columns_step;
  int rows_step;
};
struct WideProduct {
  std::int32_t* sums;  // [tokens / 8][4]
  int tokens;
  Matrix weights;
  Matrix codes;
  bool add;
};
void begin_products();
void begin_product(const WideProduct& product);
void commit_products();
void wait_products(int pending);
void show_copies();

// Barriers in shared memory that count arrivals and the bytes of copies (mbarrier), as
// kernels/cuda/clusters.cuh describes them. What was copied arrives when nobody can go on without it.
void sync_cluster(int line);
// Of a grid whose blocks run at the same time: once for each block, and then for as many phases.
void arrive_at_grid();
void wait_for_grid(unsigned phase, int line);
void init_barrier(void* barrier, int arrivals);
void show_barriers();
void arrive(void* barrier, int rank, int bytes);
void wait_barrier(void* barrier, int parity, int line);
// To the blocks of the cluster whose bits are set in `mask`, and their barriers.
struct BulkCopy {
  void* shared;
  const void* global;
  std::size_t bytes;
  void* barrier;
  unsigned mask;
};
void begin_bulk_copy(const BulkCopy& copy);

float from_f16(std::uint16_t half);
std::uint16_t to_f16(float value);

}  // namespace wkv::cuda::simt
