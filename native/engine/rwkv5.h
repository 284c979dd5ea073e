#pragma once

// RWKV-5.2 ("Eagle", arXiv 2404.05892): BlinkDL's tensor names and the equations of his reference code.

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/cuda/api.h"
#include "engine/network.h"
#include "engine/packed_sink.h"
#include "engine/tensor_directory.h"
#include "engine/tensor_loader.h"

namespace wkv::rwkv5 {

struct Options {
  // What to keep matrices in; without it, int8 from 100 million parameters on, f32 below.
  std::optional<Precision> weights = {};
  float group_norm_epsilon = 64e-5F;
  // Whether matrices of a packed file stay where they are, mapped, or are copied.
  bool mmap = true;
  // The functions of the CUDA backend, where the model is to be on one of its devices.
  const WkvCudaApi* cuda = nullptr;
  int cuda_device = 0;
};

// Checks names and shapes against each other and derives the dimensions; reads no weights.
// Throws ERR_WKV_SHAPE, ERR_WKV_FORMAT or ERR_WKV_UNSUPPORTED.
ModelInfo inspect(const TensorDirectory& directory, const Options& options);

struct Loaded {
  std::shared_ptr<const Network> network;
  std::map<std::string, std::uint64_t> hashes;  // of the stored weights, by tensor name
};

// Inspects, reads and packs. Throws what inspect throws, Cancelled, std::bad_alloc.
Loaded load(const TensorDirectory& directory, const Options& options, unsigned threads,
            const std::atomic<bool>& cancelled, const LoadProgress& progress);

// What `pack` will make of the matrices, in its order; each has input scales, too.
std::vector<PlannedMatrix> plan(const TensorDirectory& directory, Precision weights);

// Quantizes as `load` does, but hands each matrix to the sink and lets it go: only a few are in memory at a
// time. Returns the hashes of the stored weights. Throws what load throws, and what the sink throws.
std::map<std::string, std::uint64_t> pack(const TensorDirectory& directory, Precision weights,
                                          unsigned threads, const std::atomic<bool>& cancelled,
                                          const LoadProgress& progress, PackedSink& sink);

}  // namespace wkv::rwkv5
