#include "backend/cuda/model.h"

#include <cstdint>

#include "backend/cuda/devices.h"
#include "kernels/cuda/segment.h"
#include "kernels/wkv5/cuda.h"

namespace {

using wkv::cuda::Failed;
using wkv::cuda::refuse;
using wkv::cuda::require_count;

constexpr std::int64_t kMaxRank = 4096;

// Checks everything that kernels count in 32 bits.
const WkvCudaShape& checked(const WkvCudaShape& shape) {
  if (shape.architecture < WKV_CUDA_RWKV4 || shape.architecture > WKV_CUDA_RWKV7) {
    refuse("there is no architecture " + std::to_string(shape.architecture));
  }
  require_count("layers", shape.layers, 1024);
  require_count("channels", shape.channels, wkv::cuda::kMaxChannels);
  require_count("heads", shape.heads, 65'535);
  require_count("channels in a head", shape.head_size,
                shape.architecture == WKV_CUDA_RWKV4 ? 1 : wkv::cuda::kMaxHeadSize);
  require_count("channels in attention", std::int64_t{shape.heads} * shape.head_size, 1 << 20);
  require_count("channels in channel mixing", shape.feed_forward, 1 << 20);
  require_count("tokens in the vocabulary", shape.vocabulary, 1 << 24);
  require_count("tokens in a step", shape.max_tokens, 4096);
  require_count("sessions in a step", shape.max_segments, 4096);
  const auto require_rank = [&](const char* of, int rank, bool exists) {
    if (exists) require_count("numbers between the matrices of " + std::string(of), rank, kMaxRank);
    if (!exists && rank != 0) refuse("such a model has no matrices of " + std::string(of));
  };
  const bool is_6 = shape.architecture == WKV_CUDA_RWKV6;
  const bool is_7 = shape.architecture == WKV_CUDA_RWKV7;
  require_rank("its mixes", shape.mix_rank, is_6);
  require_rank("its decay", shape.decay_rank, is_6 || is_7);
  require_rank("its rate", shape.rate_rank, is_7);
  // A model of one layer has none.
  require_rank("its first value", shape.value_rank, is_7 && shape.layers > 1);
  require_rank("its gate", shape.gate_rank, is_7);
  return shape;
}

// Becomes the thread's device before anything is created on it.
std::shared_ptr<wkv::cuda::PagedDevice> enter_device(int device, const WkvCudaShape& shape) {
  wkv::cuda::use_device(device);
  return wkv::cuda::PagedDevice::create(device, shape);
}

}  // namespace

WkvCudaModel::WkvCudaModel(int device, const WkvCudaShape& model_shape, std::uint64_t weight_bytes)
    : shape(checked(model_shape)), on(enter_device(device, shape)), weights(shape), step(shape) {
  wkv::cuda::free_unused(device, on.get());
  const std::uint64_t free = wkv::cuda::describe_device(device).free_memory;
  if (weight_bytes > free) {
    throw Failed{WKV_CUDA_MEMORY, "the weights take " + std::to_string(weight_bytes >> 20) +
                                      " MiB, but only " + std::to_string(free >> 20) +
                                      " MiB of the GPU's memory are free"};
  }
  // Without a bound, packed states would leave no room to unpack one.
  on->packed_pages.limit((free - weight_bytes) / 2);
}
