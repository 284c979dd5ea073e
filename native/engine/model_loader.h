#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "engine/network.h"
#include "engine/tensor_directory.h"
#include "engine/tensor_loader.h"
#include "engine/weights_reader.h"

namespace wkv {

struct LoadedModel {
  std::shared_ptr<const Network> network;
  // Of the stored weights, whatever file held them and in whatever precision they are kept: 32 hex digits.
  std::string fingerprint;
};

// Whether the process has this model already, or is loading it.
bool is_loaded(const TensorDirectory& directory, const LoadOptions& options);

// Loads, or shares what the process already has: there is one copy of the weights per files and options.
// Waits while another thread loads the same. Null where that does not come to an end, and nothing else is to
// be loaded. Throws Error, Cancelled or std::bad_alloc.
std::shared_ptr<const LoadedModel> load_model(const TensorDirectory& directory, const LoadOptions& options,
                                              unsigned threads, const std::atomic<bool>& cancelled,
                                              const LoadProgress& progress);

}  // namespace wkv
