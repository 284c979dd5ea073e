#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "backend/cuda/api.h"
#include "engine/network.h"

namespace wkv {

// A draw as the library of the CUDA backend takes it.
struct CudaDraw {
  // Whether it can: default order of steps, no mask, no typical-p, no log-probabilities, few tokens that are
  // changed.
  static bool covers(const Sampling& sampling, std::size_t counted, int vocabulary);

  // `request` has pointers into the lists.
  CudaDraw(const DeviceDraw& draw, int vocabulary);
  CudaDraw(CudaDraw&&) = default;
  CudaDraw(const CudaDraw&) = delete;

  std::optional<std::uint32_t> token() const;

  std::vector<WkvCudaEdit> edits;
  std::vector<std::uint32_t> forbidden;
  WkvCudaDraw request;
};

}  // namespace wkv
