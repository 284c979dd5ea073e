#pragma once

#include <optional>

#include "backend/cuda/api.h"
#include "engine/precision.h"

namespace wkv {

struct LoadOptions {
  // What to keep matrices in; without it, int8 from 100 million parameters on, f32 below.
  std::optional<Precision> weights = {};
  float group_norm_epsilon = 64e-5F;
  // Whether matrices of a packed file stay where they are, mapped, or are copied.
  bool mmap = true;
  // The functions of the CUDA backend, where the model is to be on one of its devices.
  const WkvCudaApi* cuda = nullptr;
  int cuda_device = 0;
  // Takes what the process has or is loading, but loads nothing: nobody has looked whether there is room.
  bool only_shared = false;
};

}  // namespace wkv
