#pragma once

// RWKV-5.2 ("Eagle", arXiv 2404.05892): BlinkDL's tensor names and the equations of his reference code.

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "engine/network.h"
#include "engine/tensor_directory.h"
#include "engine/tensor_loader.h"

namespace wkv::rwkv5 {

struct Options {
  // What to keep matrices in; without it, int8 from 100 million parameters on, f32 below.
  std::optional<Precision> weights;
  float group_norm_epsilon = 64e-5F;
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

}  // namespace wkv::rwkv5
