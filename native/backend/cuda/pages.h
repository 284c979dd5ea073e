#pragma once

#include <memory>
#include <vector>

#include "backend/cuda/memory.h"

namespace wkv::cuda {

// The states of a model's sessions: blocks of one size, taken from the GPU many at a time, and kept for the
// next session when one ends. Throws Failed.
class PagePool {
 public:
  explicit PagePool(std::size_t page_floats) : page_floats_(page_floats) {}

  std::size_t page_floats() const { return page_floats_; }

  float* take();
  void give_back(float* page) { free_.push_back(page); }

 private:
  void grow(std::size_t pages);

  std::size_t page_floats_;
  std::vector<DeviceArray<float>> slabs_;
  std::vector<float*> free_;  // has room for all pages, so that give_back() cannot fail
  std::size_t pages_ = 0;
};

}  // namespace wkv::cuda
