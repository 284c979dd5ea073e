#include "gpu_check/ceilings.h"

#include <algorithm>

#include "kernels/cuda/launch.cuh"

namespace wkv::gpu_check {

namespace {

constexpr std::size_t kBytes = std::size_t{1} << 30;
constexpr int kRounds = 10;
constexpr int kThreads = 256;

struct ReadArguments {
  const cuda::Words4* words;
  std::size_t count;
  std::uint32_t* output;
};

WKV_KERNEL(kThreads) read(WKV_ARGUMENTS ReadArguments a) {
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * kThreads;
  std::uint32_t sum = 0;
  std::size_t i =
      static_cast<std::size_t>(cuda::block_x()) * kThreads + static_cast<std::size_t>(cuda::thread_index());
  for (; i + 3 * step < a.count; i += 4 * step) {
    const cuda::Words4 first = a.words[i];
    const cuda::Words4 second = a.words[i + step];
    const cuda::Words4 third = a.words[i + 2 * step];
    const cuda::Words4 fourth = a.words[i + 3 * step];
    sum += first.x ^ first.y ^ first.z ^ first.w ^ second.x ^ second.y ^ second.z ^ second.w;
    sum += third.x ^ third.y ^ third.z ^ third.w ^ fourth.x ^ fourth.y ^ fourth.z ^ fourth.w;
  }
  // Never so; the compiler cannot know.
  if (sum == 0x12345678U) *a.output = sum;
}

constexpr int kChains = 8;
constexpr int kTurns = 2048;

struct ProductArguments {
  std::uint32_t seed;
  std::int32_t* output;
};

WKV_KERNEL(kThreads) products(WKV_ARGUMENTS ProductArguments a) {
  std::int32_t sums[kChains][4] = {};
  const std::uint32_t word = a.seed + static_cast<std::uint32_t>(cuda::thread_index());
  const cuda::Words4 weights{word, word * 3, word * 5, word * 7};
  for (int turn = 0; turn < kTurns; ++turn) {
    WKV_UNROLL
    for (int chain = 0; chain < kChains; ++chain) {
      cuda::multiply_add(sums[chain], weights, word * 9, word * 11);
    }
  }
  std::int32_t sum = 0;
  for (int chain = 0; chain < kChains; ++chain) sum += sums[chain][0] + sums[chain][3];
  if (sum == 0x12345678) *a.output = sum;
}

struct Timer {
  Timer() {
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
  }
  ~Timer() {
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
  }
  // The shortest of some rounds, in seconds; the first ones warm up.
  template <class Body>
  double best(Body body) {
    float shortest = 1e9F;
    for (int round = 0; round < kRounds; ++round) {
      cudaEventRecord(begin);
      body();
      cudaEventRecord(end);
      cudaEventSynchronize(end);
      float milliseconds = 0;
      cudaEventElapsedTime(&milliseconds, begin, end);
      if (round > 1) shortest = std::min(shortest, milliseconds);
    }
    return static_cast<double>(shortest) / 1000;
  }
  cudaEvent_t begin{};
  cudaEvent_t end{};
};

cudaError_t measure(WkvCeilings& ceilings, void*& memory, void*& other, void*& host) {
  if (const cudaError_t error = cudaMalloc(&memory, kBytes); error != cudaSuccess) return error;
  if (const cudaError_t error = cudaMalloc(&other, kBytes); error != cudaSuccess) return error;
  if (const cudaError_t error = cudaMallocHost(&host, kBytes / 4); error != cudaSuccess) return error;
  int processors = 0;
  if (const cudaError_t error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 0);
      error != cudaSuccess) {
    return error;
  }
  const auto blocks = static_cast<unsigned>(processors);
  Timer timer;
  const ReadArguments of_read{static_cast<const cuda::Words4*>(memory), kBytes / sizeof(cuda::Words4),
                              static_cast<std::uint32_t*>(other)};
  for (const unsigned per_processor : {4U, 8U, 16U}) {
    const double seconds = timer.best([&] {
      cuda::launch(read, {blocks * per_processor, 1, kThreads, 0}, nullptr, of_read);
    });
    ceilings.read = std::max(ceilings.read, static_cast<double>(kBytes) / seconds);
  }
  ceilings.copy = 2.0 * static_cast<double>(kBytes) / timer.best([&] {
    cudaMemcpyAsync(other, memory, kBytes, cudaMemcpyDeviceToDevice, nullptr);
  });
  ceilings.upload = static_cast<double>(kBytes / 4) / timer.best([&] {
    cudaMemcpyAsync(memory, host, kBytes / 4, cudaMemcpyHostToDevice, nullptr);
  });
  const ProductArguments of_products{17, static_cast<std::int32_t*>(other)};
  for (const unsigned per_processor : {2U, 4U, 6U}) {
    const double seconds = timer.best([&] {
      cuda::launch(products, {blocks * per_processor, 1, kThreads, 0}, nullptr, of_products);
    });
    const double warps = static_cast<double>(blocks * per_processor) * kThreads / cuda::kWarp;
    ceilings.operations =
        std::max(ceilings.operations, warps * kTurns * kChains * 2.0 * 16 * 8 * 32 / seconds);
  }
  return cudaGetLastError();
}

}  // namespace

}  // namespace wkv::gpu_check

extern "C" __attribute__((visibility("default"))) std::int32_t wkv_measure_ceilings(WkvCeilings* ceilings) {
  void* memory = nullptr;
  void* other = nullptr;
  void* host = nullptr;
  *ceilings = {};
  const cudaError_t error = wkv::gpu_check::measure(*ceilings, memory, other, host);
  cudaFree(memory);
  cudaFree(other);
  cudaFreeHost(host);
  return error;
}
