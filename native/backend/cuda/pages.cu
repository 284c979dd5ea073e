#include "backend/cuda/pages.h"

#include <algorithm>

namespace wkv::cuda {

namespace {
constexpr std::size_t kSlabBytes = std::size_t{256} << 20;
constexpr std::size_t kMostPages = 32;  // of a slab
}  // namespace

float* PagePool::take() {
  if (free_.empty()) {
    const std::size_t wanted = kSlabBytes / (page_floats_ * sizeof(float));
    const std::size_t pages = std::clamp<std::size_t>(wanted, 1, std::min(kMostPages, pages_ + 1));
    try {
      grow(pages);
    } catch (const Failed& failed) {
      // There may be room for a single one.
      if (failed.code != WKV_CUDA_MEMORY || pages == 1) throw;
      grow(1);
    }
  }
  float* const page = free_.back();
  free_.pop_back();
  return page;
}

void PagePool::grow(std::size_t pages) {
  free_.reserve(pages_ + pages);
  slabs_.reserve(slabs_.size() + 1);
  slabs_.emplace_back(pages * page_floats_, "making room for a session");
  float* const first = slabs_.back().data();
  for (std::size_t i = 0; i < pages; ++i) free_.push_back(first + i * page_floats_);
  pages_ += pages;
}

}  // namespace wkv::cuda
