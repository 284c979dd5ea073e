#include "gpu_check/instructions.h"

#include "kernels/activations/cuda.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/wide_products.cuh"
#include "kernels/gemm_int8/cuda.h"
#include "kernels/rwkv5_layers/cuda.h"

namespace wkv::gpu_check {

namespace {

using cuda::float_of;

struct Arguments {
  const std::uint32_t* input;
  std::uint32_t* output;
};

struct Shared {
  cuda::Words4 words[cuda::kWarp];
  float numbers[cuda::kWarp];
};

// All NaNs are one: which one an operation gives is nobody's promise.
WKV_DEVICE std::uint32_t bits(float value) { return value == value ? cuda::bits_of(value) : 0x7fc00000U; }

// A number of moderate size.
WKV_DEVICE float moderate(std::uint32_t word) {
  return static_cast<float>(static_cast<std::int32_t>(word)) / 16'777'216.0F;
}

WKV_KERNEL(cuda::kWarp) instructions(WKV_ARGUMENTS Arguments a) {
  const int lane = cuda::block_x() * cuda::kWarp + cuda::thread_index();
  const std::uint32_t* const in = a.input + static_cast<std::ptrdiff_t>(lane) * kInputWords;
  std::uint32_t* const out = a.output + static_cast<std::ptrdiff_t>(lane) * kOutputWords;

  cuda::Words4* const words = cuda::shared_memory<Shared>().words;
  cuda::begin_copy(&words[cuda::thread_index()], reinterpret_cast<const unsigned char*>(in));
  float* const number_copied = &cuda::shared_memory<Shared>().numbers[cuda::thread_index()];
  cuda::begin_copy(number_copied, reinterpret_cast<const unsigned char*>(in + 5));
  cuda::commit_copies();

  std::int32_t sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = static_cast<std::int32_t>(in[i]) / 256;
  cuda::multiply_add(sums, {in[4], in[5], in[6], in[7]}, in[8], in[9]);
  for (int i = 0; i < 4; ++i) out[kProduct + i] = static_cast<std::uint32_t>(sums[i]);
  out[kDotProduct] = static_cast<std::uint32_t>(
      cuda::add_products({in[4], in[5], in[6], in[7]}, {in[8], in[9], in[10], in[11]}, sums[0]));
  std::int32_t products[4];
  cuda::multiply_unit(products, {in[4], in[5]}, in[8]);
  for (int i = 0; i < 4; ++i) out[kUnitProduct + i] = static_cast<std::uint32_t>(products[i]);
  out[kSelected] = cuda::select_bytes(in[4], in[5], in[6]);
  for (int i = 0; i < 5; ++i) out[kShuffled + i] = cuda::shuffle_xor(in[10], 1 << i);

  // Any bits: denormal numbers, infinities and NaN among them.
  const float x = float_of(in[11]);
  const float y = float_of(in[12]);
  out[kFused] = bits(cuda::fused(x, y, float_of(in[13])));
  out[kQuotient] = bits(x / y);
  out[kRoot] = bits(cuda::root(float_of(in[11] & 0x7fffffffU)));
  out[kTimes] = bits(x * y);
  out[kPlus] = bits(x + y);
  // Halves between two integers, too.
  out[kNearest] = static_cast<std::uint32_t>(
      cuda::nearest(static_cast<float>(static_cast<std::int32_t>(in[14]) / 65'536) / 2));
  out[kFromF16] = bits(cuda::from_f16(static_cast<std::uint16_t>(in[15])));
  // Any floats, and such as halves and numbers between them.
  const float wide = float_of(in[10]);
  const float near =
      cuda::from_f16(static_cast<std::uint16_t>(in[10])) * (1 + static_cast<float>(in[13] % 8) * 0x1p-13F);
  const float number = in[10] % 2 == 0 ? wide : near;
  out[kToF16] = number == number ? cuda::to_f16(number) : 0x7fffU;
  out[kExponential] = bits(cuda::exponential(moderate(in[14])));
  out[kSigmoid] = bits(cuda::sigmoid(moderate(in[13])));
  out[kFromInteger] = bits(static_cast<float>(static_cast<std::int32_t>(in[12])));
  out[kWarpSum] = bits(cuda::warp_sum(moderate(in[11])));

  cuda::wait_copies<0>();
  const cuda::Words4 copied = words[cuda::thread_index()];
  out[kCopied] = copied.x;
  out[kCopied + 1] = copied.y;
  out[kCopied + 2] = copied.z;
  out[kCopied + 3] = copied.w;
  out[kCopiedNumber] = cuda::bits_of(*number_copied);
  cuda::sync_warp();
  const cuda::Words4 rows = cuda::load_rows(&words[cuda::thread_index()]);
  out[kRows] = rows.x;
  out[kRows + 1] = rows.y;
  out[kRows + 2] = rows.z;
  out[kRows + 3] = rows.w;
  for (int i = 0; i < kWideSums; ++i) out[kWide + i] = 0;
}

constexpr int kWideRows = 64;  // and tokens
constexpr int kWideThreads = kWideCases * kLaneCount;

struct WideShared {
  cuda::Words4 weights[2][kWideRows];
  cuda::Words4 codes[2][kWideRows];
};

// Twice the product of 64 rows, 32 columns and 64 tokens.
WKV_DEVICE void multiply(const Arguments& a) {
  const int thread = cuda::block_x() * kWideThreads + cuda::thread_index();
  const auto* const in =
      reinterpret_cast<const unsigned char*>(a.input + static_cast<std::ptrdiff_t>(thread) * kInputWords);
  auto& shared = cuda::shared_memory<WideShared>();
  const int part = cuda::thread_index() / kWideRows;
  const int row = cuda::thread_index() % kWideRows;
  cuda::begin_copy(&shared.weights[part][row], in);
  cuda::begin_copy(&shared.codes[part][row], in + 16);
  cuda::commit_copies();
  cuda::wait_copies<0>();
  cuda::fence_proxy_async();
  cuda::sync_block();
  const cuda::SharedMatrix weights = cuda::shared_matrix(shared.weights[0], kWideRows, 8);
  const cuda::SharedMatrix codes = cuda::shared_matrix(shared.codes[0], kWideRows, 8);
  std::int32_t sums[kWideRows / 8][4];
  cuda::begin_products();
  cuda::multiply_wide<kWideRows>(sums, weights, codes, false);
  cuda::multiply_wide<kWideRows>(sums, weights, codes, true);
  cuda::commit_products();
  cuda::wait_products<0>();
  std::uint32_t* out = a.output + static_cast<std::ptrdiff_t>(thread) * kOutputWords + kWide;
  WKV_UNROLL
  for (std::int32_t(&tile)[4] : sums) {
    cuda::receive(tile);
    WKV_UNROLL
    for (const std::int32_t sum : tile) *out++ = static_cast<std::uint32_t>(sum);
  }
}

WKV_KERNEL(kWideThreads) wide_products(WKV_ARGUMENTS Arguments a) {
  cuda::await_previous_kernel();
  if constexpr (cuda::kHasWideProducts) multiply(a);
}

cudaError_t run(const std::uint32_t* input, std::uint32_t* output, std::size_t lanes, void*& in, void*& out) {
  const std::size_t in_bytes = lanes * kInputWords * sizeof(std::uint32_t);
  const std::size_t out_bytes = lanes * kOutputWords * sizeof(std::uint32_t);
  cudaError_t error = cudaMalloc(&in, in_bytes);
  if (error == cudaSuccess) error = cudaMalloc(&out, out_bytes);
  if (error == cudaSuccess) error = cudaMemcpyAsync(in, input, in_bytes, cudaMemcpyHostToDevice, nullptr);
  if (error != cudaSuccess) return error;
  const auto blocks = static_cast<unsigned>(lanes / kLaneCount);
  const Arguments arguments{static_cast<const std::uint32_t*>(in), static_cast<std::uint32_t*>(out)};
  cuda::launch(instructions, {blocks, 1, cuda::kWarp, sizeof(Shared)}, nullptr, arguments);
  if (cuda::has_wide_products()) {
    // In clusters, as the second block of one has its shared memory at other addresses than the first.
    cuda::Grid grid{blocks / kWideCases, 1, kWideThreads, sizeof(WideShared)};
    grid.cluster_x = grid.x % 2 == 0 ? 2 : 1;
    cuda::launch(wide_products, grid, nullptr, arguments);
  }
  error = cudaGetLastError();
  if (error == cudaSuccess) error = cudaMemcpyAsync(output, out, out_bytes, cudaMemcpyDeviceToHost, nullptr);
  return error == cudaSuccess ? cudaStreamSynchronize(nullptr) : error;
}

}  // namespace

}  // namespace wkv::gpu_check

extern "C" __attribute__((visibility("default"))) std::int32_t wkv_run_instructions(
    const std::uint32_t* input, std::uint32_t* output, std::int32_t cases) {
  void* in = nullptr;
  void* out = nullptr;
  const std::size_t lanes = static_cast<std::size_t>(cases) * wkv::gpu_check::kLaneCount;
  const cudaError_t error = wkv::gpu_check::run(input, output, lanes, in, out);
  // What could not be freed is reported by the next call.
  static_cast<void>(cudaFree(in));
  static_cast<void>(cudaFree(out));
  return error;
}

extern "C" __attribute__((visibility("default"))) std::int32_t wkv_has_wide_products() {
  return wkv::cuda::has_wide_products() ? 1 : 0;
}

static wkv::cuda::LayersKind kind_of(WkvCandidate candidate) {
  return candidate == WKV_LAYERS_BULK ? wkv::cuda::LayersKind::kBulk : wkv::cuda::LayersKind::kLanes;
}

extern "C" __attribute__((visibility("default"))) void wkv_use(WkvCandidate candidate, std::int32_t use) {
  if (candidate == WKV_CLUSTERS) {
    wkv::cuda::use_clusters(use != 0);
  } else {
    wkv::cuda::use_rwkv5_layers(use != 0 ? kind_of(candidate) : wkv::cuda::LayersKind::kNone);
  }
}

extern "C" __attribute__((visibility("default"))) std::int32_t wkv_can_use(WkvCandidate candidate) {
  const bool can = candidate == WKV_CLUSTERS ? wkv::cuda::has_wide_products()
                                             : wkv::cuda::has_rwkv5_layers(kind_of(candidate));
  return can ? 1 : 0;
}

extern "C" __attribute__((visibility("default"))) std::int32_t wkv_launches(WkvCandidate candidate) {
  return candidate == WKV_CLUSTERS ? wkv::cuda::cluster_launches() : wkv::cuda::rwkv5_layers_launches();
}
