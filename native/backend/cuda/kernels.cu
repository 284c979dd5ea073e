#include "backend/cuda/kernels.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "backend/cuda/quantized.h"
#include "kernels/cuda/segment.h"
#include "kernels/gemm_int4/cuda.h"
#include "kernels/wkv5/cuda.h"

namespace wkv::cuda {

namespace {

constexpr const char* kComputingKernel = "computing a kernel";
constexpr std::int64_t kMaxNumbers = std::numeric_limits<std::int32_t>::max();
// Computed together; bounds the memory for products.
constexpr int kMaxTokens = 4096;

void download(const DeviceArray<float>& from, std::size_t count, float* to, const Stream& stream) {
  check(cudaMemcpyAsync(to, from.data(), count * sizeof(float), cudaMemcpyDeviceToHost, stream.get()),
        kComputingKernel);
}

}  // namespace

void run_wkv5(const WkvCudaWkv5& wkv) {
  // A sequence is a row of the grid.
  require_count("sequences", wkv.batch, 65'535);
  require_count("heads", wkv.heads, 65'535);
  require_count("channels in a head", wkv.head_size, kMaxHeadSize);
  require_count("tokens", wkv.tokens, kMaxNumbers);
  const std::int64_t tokens = std::int64_t{wkv.batch} * wkv.tokens;
  require_count("tokens in all", tokens, kMaxNumbers);
  const auto channels = static_cast<std::size_t>(wkv.heads) * static_cast<std::size_t>(wkv.head_size);
  const std::size_t state_numbers = channels * static_cast<std::size_t>(wkv.head_size);
  const std::size_t numbers = static_cast<std::size_t>(tokens) * channels;
  const Stream stream;
  const auto to_device = [&](const float* from, std::size_t count) {
    return upload<float>(from, count, stream, kComputingKernel);
  };
  const DeviceArray<float> r = to_device(wkv.r, numbers);
  const DeviceArray<float> k = to_device(wkv.k, numbers);
  const DeviceArray<float> v = to_device(wkv.v, numbers);
  const DeviceArray<float> forget = to_device(wkv.forget, channels);
  const DeviceArray<float> u = to_device(wkv.u, channels);
  const DeviceArray<float> states = to_device(wkv.state, static_cast<std::size_t>(wkv.batch) * state_numbers);
  const DeviceArray<float> y(numbers, kComputingKernel);
  std::vector<Segment> sequences;
  for (int i = 0; i < wkv.batch; ++i) {
    float* const state = states.data() + static_cast<std::size_t>(i) * state_numbers;
    sequences.push_back({state, i * wkv.tokens, wkv.tokens});
  }
  const auto segments = upload<Segment>(sequences.data(), sequences.size(), stream, kComputingKernel);
  wkv5({.r = r.data(),
        .k = k.data(),
        .v = v.data(),
        .y = y.data(),
        .forget = forget.data(),
        .u = u.data(),
        .segments = segments.data(),
        .state_offset = 0,
        .count = wkv.batch,
        .tokens = static_cast<int>(tokens),
        .heads = wkv.heads,
        .head_size = wkv.head_size},
       stream.get());
  check(cudaGetLastError(), kComputingKernel);
  download(y, numbers, wkv.y, stream);
  download(states, states.size(), wkv.state, stream);
  stream.wait(kComputingKernel);
}

void run_gemm(const WkvCudaGemm& gemm) {
  require_count("rows", gemm.weights.rows, 1 << 24);
  require_count("columns", gemm.weights.columns, 1 << 20);
  require_count("tokens", gemm.tokens, kMaxNumbers);
  const auto rows = static_cast<std::size_t>(gemm.weights.rows);
  const auto columns = static_cast<std::size_t>(gemm.weights.columns);
  const Stream stream;
  const WeightMatrix weights = upload_matrix("the matrix", gemm.weights, stream);
  const int most = std::min(gemm.tokens, kMaxTokens);
  const Quantized quantized(most, gemm.weights.columns);
  const DeviceArray<float> output = floats(most, gemm.weights.rows);
  for (std::int64_t begin = 0; begin < gemm.tokens; begin += most) {
    const auto tokens = static_cast<int>(std::min<std::int64_t>(most, gemm.tokens - begin));
    const auto count = static_cast<std::size_t>(tokens);
    const auto first = static_cast<std::size_t>(begin);
    // After this copy the weights are arranged: products read them as soon as they begin.
    const auto x =
        upload<float>(gemm.activations + first * columns, count * columns, stream, kComputingKernel);
    const QuantizedTokens input = quantized.of(weights);
    quantize({x.data(), weights.input_scales.data(), input, tokens}, stream.get());
    const QuantizedProduct product{weights.panels.data(), input,           output.data(), nullptr,
                                   weights.rows,          Epilogue::kStore};
    const QuantizedProducts products{{product}, 1, tokens};
    if (weights.bits == WeightBits::k4) {
      gemm_int4(products, stream.get());
    } else {
      gemm_int8(products, stream.get());
    }
    check(cudaGetLastError(), kComputingKernel);
    download(output, count * rows, gemm.output + first * rows, stream);
    stream.wait(kComputingKernel);
  }
}

}  // namespace wkv::cuda
