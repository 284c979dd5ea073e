#pragma once

#include <mutex>

#include "backend/cuda/pages.h"
#include "backend/cuda/step.h"
#include "backend/cuda/weights.h"

// A model of the library: its weights, its sessions' pages and what a step needs. All members throw
// wkv::cuda::Failed; the caller holds `mutex`.
struct WkvCudaModel {
  WkvCudaModel(int device_index, const WkvCudaShape& model_shape, std::uint64_t weight_bytes);

  // Makes its device the calling thread's.
  void enter() const;

  std::mutex mutex;
  const int device;
  const WkvCudaShape shape;
  wkv::cuda::Stream stream;
  wkv::cuda::Weights weights;
  wkv::cuda::PagePool pages;
  wkv::cuda::Step step;
};

struct WkvCudaPage {
  WkvCudaModel* model;
  float* numbers;
};
