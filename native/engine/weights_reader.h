#pragma once

// From a file's tensors to a network, whatever its architecture.

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/load_options.h"
#include "engine/network.h"
#include "engine/packed_sink.h"
#include "engine/tensor_directory.h"
#include "engine/tensor_loader.h"

namespace wkv {

// Checks names and shapes against each other and derives the dimensions; reads no weights.
// Throws ERR_WKV_SHAPE, ERR_WKV_FORMAT or ERR_WKV_UNSUPPORTED.
ModelInfo inspect_weights(const TensorDirectory& directory, const LoadOptions& options);

struct LoadedWeights {
  std::shared_ptr<const Network> network;
  std::map<std::string, std::uint64_t> hashes;  // of the stored weights, by tensor name
};

// Inspects, reads and packs. Throws what inspect_weights throws, Cancelled, std::bad_alloc.
LoadedWeights load_weights(const TensorDirectory& directory, const LoadOptions& options, unsigned threads,
                           const std::atomic<bool>& cancelled, const LoadProgress& progress);

// What `pack_weights` will make of the matrices, in its order; each may have input scales, too.
std::vector<PlannedMatrix> plan_weights(const TensorDirectory& directory, Precision weights);

// Quantizes as `load_weights` does, but hands each matrix to the sink and lets it go: only a few are in
// memory at a time. Returns the hashes of the stored weights. Throws what load_weights throws, and what the
// sink throws.
std::map<std::string, std::uint64_t> pack_weights(const TensorDirectory& directory, Precision weights,
                                                  unsigned threads, const std::atomic<bool>& cancelled,
                                                  const LoadProgress& progress, PackedSink& sink);

}  // namespace wkv
