#include "backend/cuda/pages.h"

#include <algorithm>
#include <limits>

#include "backend/cuda/tensors.h"

namespace wkv::cuda {

namespace {
constexpr std::size_t kSlabBytes = std::size_t{256} << 20;
constexpr std::size_t kMostPages = 32;  // of a slab

// Room for numbers of other sizes is counted in floats, too.
std::size_t floats_for(std::size_t bytes) { return (bytes + sizeof(float) - 1) / sizeof(float); }
}  // namespace

StateForm::StateForm(const WkvCudaShape& shape) {
  const std::int64_t floats = shape.layers * layer_numbers(shape);
  if (floats > std::numeric_limits<std::int32_t>::max()) {
    throw Failed{WKV_CUDA_UNSUPPORTED,
                 "the CUDA backend takes models with less than 2^31 numbers in a state, not " +
                     std::to_string(floats)};
  }
  const auto add = [this](int count, int group) { arguments_.parts[arguments_.count++] = {count, group}; };
  arguments_.layers = shape.layers;
  add(shape.channels, shape.channels);
  add(shape.channels, shape.channels);
  if (shape.architecture == WKV_CUDA_RWKV4) {
    add(shape.heads, shape.heads);
    add(shape.heads, shape.heads);
    add(shape.heads, 0);  // logarithms
  } else {
    add(static_cast<int>(recurrence_numbers(shape)), shape.head_size * shape.head_size);
  }
}

std::size_t StateForm::floats() const {
  std::size_t of_layer = 0;
  for (int i = 0; i < arguments_.count; ++i) {
    of_layer += static_cast<std::size_t>(arguments_.parts[i].count);
  }
  return of_layer * static_cast<std::size_t>(arguments_.layers);
}

std::size_t StateForm::packed_bytes() const {
  std::size_t of_layer = 0;
  for (int i = 0; i < arguments_.count; ++i) {
    of_layer += static_cast<std::size_t>(packed_halves(arguments_.parts[i])) * sizeof(std::uint16_t);
  }
  return of_layer * static_cast<std::size_t>(arguments_.layers);
}

PagedDevice::PagedDevice(int device_index, const WkvCudaShape& shape)
    : device(device_index),
      form(shape),
      vocabulary(static_cast<std::size_t>(shape.vocabulary)),
      awake(form.floats() + vocabulary),
      resting(floats_for(form.packed_bytes()) + vocabulary) {}

float* PagePool::take() {
  const std::lock_guard lock{mutex_};
  if (free_.empty()) {
    if (pages_ >= most_pages_) {
      throw Failed{WKV_CUDA_MEMORY, "states at rest have all the memory of the GPU that they may have"};
    }
    const std::size_t most = std::min({kMostPages, pages_ + 1, most_pages_ - pages_});
    const std::size_t pages = std::clamp<std::size_t>(kSlabBytes / page_bytes(), 1, most);
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

std::size_t WkvCudaPage::state_bytes() const {
  return rests ? on->form.packed_bytes() : on->form.floats() * sizeof(float);
}

float* WkvCudaPage::logits() const { return numbers + wkv::cuda::floats_for(state_bytes()); }

void WkvCudaPage::copy_to(const WkvCudaPage& page) const {
  constexpr const char* kCopying = "copying a state";
  const cudaStream_t stream = on->stream.get();
  const auto copy = [stream](float* to, const float* from, std::size_t bytes) {
    wkv::cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream), kCopying);
  };
  if (page.rests == rests) {
    copy(page.numbers, numbers, bytes());
    return;
  }
  wkv::cuda::RestArguments arguments = on->form.arguments();
  arguments.numbers = rests ? page.numbers : numbers;
  arguments.packed = reinterpret_cast<std::uint16_t*>(rests ? numbers : page.numbers);
  if (rests) {
    wkv::cuda::wake(arguments, stream);
  } else {
    wkv::cuda::rest(arguments, stream);
  }
  copy(page.logits(), logits(), on->vocabulary * sizeof(float));
  wkv::cuda::check(cudaGetLastError(), kCopying);
}
