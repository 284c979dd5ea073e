#pragma once

#include <memory>

#include "backend/cuda/pages.h"
#include "backend/cuda/step.h"
#include "backend/cuda/weights.h"

// A model of the library: its weights, what a step needs, and the device with its sessions' pages. All
// members throw wkv::cuda::Failed.
struct WkvCudaModel {
  WkvCudaModel(int device, const WkvCudaShape& model_shape, std::uint64_t weight_bytes);

  const WkvCudaShape shape;
  const std::shared_ptr<wkv::cuda::PagedDevice> on;
  wkv::cuda::Weights weights;
  wkv::cuda::Step step;
};
