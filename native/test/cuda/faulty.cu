#include "test/cuda/faulty.h"

#include "kernels/cuda/clusters.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/whole_grid.cuh"
#include "kernels/cuda/wide_products.cuh"

namespace wkv::test {

namespace {

struct Rotated {
  int numbers[kRotateThreads];
};

WKV_KERNEL(kRotateThreads) rotate_kernel(WKV_ARGUMENTS RotateArguments a) {
  int* const numbers = cuda::shared_memory<Rotated>().numbers;
  const int thread = cuda::thread_index();
  const int place = cuda::block_x() * static_cast<int>(kRotateThreads) + thread;
  numbers[thread] = a.input[place];
  if (a.fault != Fault::kNoBarrier) cuda::sync_block();
  if (a.fault == Fault::kDivergentBarrier && thread < 40) cuda::sync_block();
  if (a.fault == Fault::kDivergentShuffle && thread % 32 < 16) {
    numbers[thread] += cuda::shuffle_xor(0, 1);
  }
  if (a.fault == Fault::kTwoShuffles) {
    if (thread % 2 == 0) {
      numbers[thread] += cuda::shuffle_xor(0, 1);
    } else {
      numbers[thread] += cuda::shuffle_xor(0, 1);
    }
  }
  const int value = numbers[(thread + 1) % static_cast<int>(kRotateThreads)];
  a.output[a.fault == Fault::kBlocksShare ? thread : place] = value;
}

struct Copied {
  cuda::Words4 words[cuda::kWarp];
};

WKV_KERNEL(cuda::kWarp) copy_kernel(WKV_ARGUMENTS CopyArguments a) {
  cuda::Words4* const words = cuda::shared_memory<Copied>().words;
  const int thread = cuda::thread_index();
  cuda::begin_copy(&words[thread], a.input + thread * 16);
  cuda::commit_copies();
  if (a.fault == Fault::kReturnsEarly) return;
  if (a.fault == Fault::kNoWait) {
    cuda::wait_copies<1>();
  } else {
    cuda::wait_copies<0>();
  }
  if (a.fault == Fault::kOtherLane) cuda::sync_warp();
  const bool of_other = a.fault == Fault::kOtherLane || a.fault == Fault::kOtherLaneEarly;
  *reinterpret_cast<cuda::Words4*>(a.output + thread * 16) =
      words[of_other ? (thread + 1) % cuda::kWarp : thread];
  cuda::wait_copies<0>();
}

struct Multiplied {
  cuda::Words4 ones[kMultiplyThreads];
  cuda::Words4 codes[kMultiplyThreads];
};

WKV_KERNEL(kMultiplyThreads) multiply_kernel(WKV_ARGUMENTS MultiplyArguments a) {
  constexpr int kRows = kMultiplyThreads / 2;
  auto& shared = cuda::shared_memory<Multiplied>();
  const int thread = cuda::thread_index();
  constexpr std::uint32_t kOnes = 0x01010101U;
  shared.ones[thread] = {kOnes, kOnes, kOnes, kOnes};
  cuda::begin_copy(&shared.codes[thread], a.input + thread * 16);
  cuda::commit_copies();
  cuda::wait_copies<0>();
  if (a.fault != Fault::kNotShown) cuda::fence_proxy_async();
  cuda::sync_block();
  const int step = a.fault == Fault::kBeyondShared ? kMultiplyThreads : kRows;
  const cuda::SharedMatrix ones = cuda::shared_matrix(shared.ones, kRows, 8);
  const cuda::SharedMatrix codes = cuda::shared_matrix(shared.codes, step, 8);
  std::int32_t sums[kMultiplySums / 4][4] = {};
  if (a.fault != Fault::kNotBegun) cuda::begin_products();
  cuda::multiply_wide<kRows>(sums, ones, codes, false);
  cuda::commit_products();
  if (a.fault == Fault::kReturnsEarly) return;
  if (a.fault == Fault::kNoWait) {
    cuda::wait_products<1>();
  } else {
    cuda::wait_products<0>();
  }
  for (int i = 0; i < kMultiplySums; ++i) a.output[thread * kMultiplySums + i] = sums[i / 4][i % 4];
  cuda::wait_products<0>();
}

struct Shared {
  cuda::Words4 words[cuda::kWarp];
  cuda::Barrier full;
  cuda::Barrier free;
};

WKV_KERNEL(cuda::kWarp) share_kernel(WKV_ARGUMENTS ShareArguments a) {
  constexpr int kBytes = 16 * cuda::kWarp;
  auto& shared = cuda::shared_memory<Shared>();
  const int thread = cuda::thread_index();
  const int rank = cuda::cluster_rank();
  if (thread == 0 && a.fault != Fault::kNoInit) {
    cuda::init_barrier(shared.full, 1);
    cuda::init_barrier(shared.free, 2);
    if (a.fault != Fault::kBarrierNotShown) cuda::show_barriers();
  }
  if (a.fault == Fault::kNoClusterBarrier) {
    cuda::sync_block();
  } else {
    cuda::sync_cluster();
  }
  for (int round = 0; round < kShareRounds; ++round) {
    if (thread == 0) {
      if (round > 0 && a.fault != Fault::kNotFreed) cuda::wait_barrier(shared.free, (round - 1) % 2);
      const int off = a.fault == Fault::kTooFewBytes ? -16 : a.fault == Fault::kTooManyBytes ? 16 : 0;
      cuda::arrive_expecting(shared.full, kBytes + off);
      if (a.fault == Fault::kOneTooMany) cuda::arrive_at(shared.full, rank);
      const int first = rank * cuda::kWarp / 2;
      cuda::begin_bulk_copy(&shared.words[first], a.input + round * kBytes + first * 16, kBytes / 2,
                            shared.full, 3);
    }
    cuda::wait_barrier(shared.full, (round + (a.fault == Fault::kOtherParity ? 1 : 0)) % 2);
    *reinterpret_cast<cuda::Words4*>(a.output + (round * 2 + rank) * kBytes + thread * 16) =
        shared.words[thread];
    if (a.fault != Fault::kNoSync) cuda::sync_warp();
    if (thread < cuda::cluster_width()) cuda::arrive_at(shared.free, thread);
  }
  if (a.fault == Fault::kOneBlockReturns && rank == 0) return;
  if (a.fault != Fault::kOneBlockReturns) cuda::sync_cluster();
}

WKV_KERNEL(cuda::kWarp) pass_kernel(WKV_ARGUMENTS PassArguments a) {
  cuda::WholeGrid grid(a.arrived);
  const int own = cuda::block_x();
  const auto number = [&](int block) -> int& {
    return a.numbers[block % a.blocks * cuda::kWarp + cuda::thread_index()];
  };
  for (int round = 0; round < kPassRounds; ++round) {
    const int next = number(own + 1);
    if (a.fault != Fault::kNoGridBarrier) grid.sync();
    number(own) = next;
    if (a.fault == Fault::kOneBlockReturns && own == 0) return;
    grid.sync();
  }
}

}  // namespace

void rotate(const RotateArguments& arguments, unsigned blocks) {
  const std::size_t bytes = arguments.fault == Fault::kTooMuchShared ? 32 : sizeof(Rotated);
  cuda::launch(rotate_kernel, {blocks, 1, kRotateThreads, bytes}, nullptr, arguments);
}

void copy(const CopyArguments& arguments) {
  cuda::launch(copy_kernel, {1, 1, cuda::kWarp, sizeof(Copied)}, nullptr, arguments);
}

void multiply(const MultiplyArguments& arguments) {
  cuda::launch(multiply_kernel, {1, 1, kMultiplyThreads, sizeof(Multiplied)}, nullptr, arguments);
}

void share(const ShareArguments& arguments) {
  cuda::Grid grid{2, 1, cuda::kWarp, sizeof(Shared)};
  grid.cluster_x = 2;
  cuda::launch(share_kernel, grid, nullptr, arguments);
}

void pass(const PassArguments& arguments) {
  cuda::Grid grid{static_cast<unsigned>(arguments.blocks), 1, cuda::kWarp, 0};
  grid.together = true;
  cuda::launch(pass_kernel, grid, nullptr, arguments);
}

}  // namespace wkv::test
