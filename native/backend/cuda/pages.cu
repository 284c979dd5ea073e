#include "backend/cuda/pages.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "backend/cuda/tensors.h"

namespace wkv::cuda {

namespace {
constexpr std::size_t kSlabBytes = std::size_t{256} << 20;
constexpr std::size_t kMaxPages = 32;  // of a slab
constexpr const char* kMakingRoomForSession = "making room for a session";
// Of all models whose pages are there. Not destroyed at the end of the process, when others may still use it.
std::mutex all_mutex;
std::vector<std::weak_ptr<PagedDevice>>& all = *new std::vector<std::weak_ptr<PagedDevice>>;

// Kept free, at most.
constexpr std::size_t kReserve = std::size_t{256} << 20;

std::size_t reserve_of(std::size_t total) { return std::min(kReserve, total / 32); }

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
      unpacked_pages(form.floats() + vocabulary),
      packed_pages(floats_for(form.packed_bytes()) + vocabulary) {}

std::shared_ptr<PagedDevice> PagedDevice::create(int device_index, const WkvCudaShape& shape) {
  auto created = std::make_shared<PagedDevice>(device_index, shape);
  const std::lock_guard lock{all_mutex};
  std::erase_if(all, [](const auto& each) { return each.expired(); });
  all.push_back(created);
  return created;
}

float* PagedDevice::take_page(bool packed) {
  PagePool& own = packed ? packed_pages : unpacked_pages;
  try {
    return own.take();
  } catch (const Failed& failed) {
    if (failed.code != WKV_CUDA_MEMORY || !own.may_grow()) throw;
    const bool own_freed = trim();
    if (!free_unused(device, this) && !own_freed) throw;
  }
  return own.take();
}

bool free_unused(int device, const PagedDevice* except) {
  std::vector<std::shared_ptr<PagedDevice>> there;
  {
    const std::lock_guard lock{all_mutex};
    for (const auto& each : all) {
      auto shared = each.lock();
      if (shared == nullptr || shared.get() == except || shared->device != device) continue;
      there.push_back(std::move(shared));
    }
  }
  bool any = false;
  for (const auto& each : there) {
    // Whoever holds it is at work.
    const std::unique_lock lock{each->mutex, std::try_to_lock};
    if (!lock.owns_lock() || !each->lost.empty()) continue;
    any = each->trim() || any;
  }
  return any;
}

bool PagedDevice::trim() {
  stream.wait("freeing states");
  const bool any_unpacked = unpacked_pages.trim();
  return packed_pages.trim() || any_unpacked;
}

std::size_t memory_for_pages() {
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), kMakingRoomForSession);
  return free - std::min(free, reserve_of(total));
}

float* PagePool::take() {
  const std::lock_guard lock{mutex_};
  if (free_.empty()) {
    if (pages_ >= max_pages_) {
      throw Failed{WKV_CUDA_MEMORY, "packed states have all the memory of the GPU that they may have"};
    }
    const std::size_t most = std::min({kMaxPages, pages_ + 1, max_pages_ - pages_});
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
  const std::size_t room = memory_for_pages();
  if (pages * page_bytes() > room) {
    throw Failed{WKV_CUDA_MEMORY, "there is not enough memory on the GPU while making room for a session: " +
                                      std::to_string(room >> 20) + " MiB are free for sessions"};
  }
  slabs_.emplace_back(pages * page_floats_, kMakingRoomForSession);
  float* const first = slabs_.back().data();
  for (std::size_t i = 0; i < pages; ++i) free_.push_back(first + i * page_floats_);
  pages_ += pages;
}

bool PagePool::may_grow() {
  const std::lock_guard lock{mutex_};
  return pages_ < max_pages_;
}

bool PagePool::trim() {
  // Freed when the mutex is no longer held: that waits for all that the GPU does.
  std::vector<DeviceArray<float>> unused;
  const std::lock_guard lock{mutex_};
  std::vector<DeviceArray<float>> used;
  unused.reserve(slabs_.size());
  used.reserve(slabs_.size());
  std::sort(free_.begin(), free_.end());
  for (DeviceArray<float>& slab : slabs_) {
    const auto begin = std::lower_bound(free_.begin(), free_.end(), slab.data());
    const auto end = std::lower_bound(begin, free_.end(), slab.data() + slab.size());
    const std::size_t pages = slab.size() / page_floats_;
    const bool is_free = static_cast<std::size_t>(end - begin) == pages;
    if (is_free) {
      free_.erase(begin, end);
      pages_ -= pages;
    }
    (is_free ? unused : used).push_back(std::move(slab));
  }
  slabs_ = std::move(used);
  return !unused.empty();
}

}  // namespace wkv::cuda

std::size_t WkvCudaPage::state_bytes() const {
  return packed ? on->form.packed_bytes() : on->form.floats() * sizeof(float);
}

float* WkvCudaPage::logits() const { return numbers + wkv::cuda::floats_for(state_bytes()); }

void WkvCudaPage::copy_to(const WkvCudaPage& page) const {
  constexpr const char* kCopying = "copying a state";
  const cudaStream_t stream = on->stream.get();
  const auto copy = [stream](float* to, const float* from, std::size_t bytes) {
    wkv::cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream), kCopying);
  };
  if (page.packed == packed) {
    copy(page.numbers, numbers, bytes());
    return;
  }
  wkv::cuda::PackStateArguments arguments = on->form.arguments();
  arguments.numbers = packed ? page.numbers : numbers;
  arguments.packed = reinterpret_cast<std::uint16_t*>(packed ? numbers : page.numbers);
  if (packed) {
    wkv::cuda::unpack_state(arguments, stream);
  } else {
    wkv::cuda::pack_state(arguments, stream);
  }
  copy(page.logits(), logits(), on->vocabulary * sizeof(float));
  wkv::cuda::check(cudaGetLastError(), kCopying);
}
