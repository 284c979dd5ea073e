#pragma once

#include <atomic>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/cuda/api.h"
#include "backend/cuda/memory.h"
#include "kernels/pack_state/cuda.h"

namespace wkv::cuda {

// What a session's state consists of.
class StateForm {
 public:
  // Throws Failed where it has more numbers than kernels count.
  explicit StateForm(const WkvCudaShape& shape);

  std::size_t floats() const;
  std::size_t packed_bytes() const;

  // With the places still to be filled in.
  PackStateArguments arguments() const { return arguments_; }

 private:
  PackStateArguments arguments_{};
};

struct PagedDevice;
// Frees what no page of the models on a device uses, but of those that are at work. Says whether there was
// any.
bool free_unused(int device, const PagedDevice* except = nullptr);

// How much of the device's free memory pages may take, in bytes. The rest stays free for what CUDA needs
// later, such as the code of a kernel that runs for the first time, without which a step would fail.
std::size_t memory_for_pages();

// Blocks of one size, taken from the GPU many at a time, and kept for the next session when one ends. Throws
// Failed. For any thread: whoever gives a block back does not wait for steps, and whoever has it next puts
// what it does with it on the same stream.
class PagePool {
 public:
  explicit PagePool(std::size_t page_floats)
      : page_floats_((page_floats + kAligned - 1) / kAligned * kAligned) {}

  std::size_t page_bytes() const { return page_floats_ * sizeof(float); }

  // From here on it has at most so many bytes.
  void limit(std::uint64_t bytes) { max_pages_ = bytes / page_bytes(); }

  float* take();
  void give_back(float* page) {
    const std::lock_guard lock{mutex_};
    free_.push_back(page);
  }

  // Whether the limit allows another page.
  bool may_grow();

  // Gives the memory back of which no page is in use, and says whether there was any. Nothing on the stream
  // may still use pages that were given back.
  bool trim();

 private:
  // Pages begin where those of memory do.
  static constexpr std::size_t kAligned = 64;

  void grow(std::size_t pages);

  std::mutex mutex_;
  std::size_t page_floats_;
  std::size_t max_pages_ = std::numeric_limits<std::size_t>::max();
  std::vector<DeviceArray<float>> slabs_;
  std::vector<float*> free_;  // has room for all pages, so that give_back() cannot fail
  std::size_t pages_ = 0;
};

// What a model and its pages share, and what remains of it as long as there are pages. Whoever uses any of it
// but the pools holds the mutex.
struct PagedDevice {
  // Becomes one of those that free_unused() knows.
  static std::shared_ptr<PagedDevice> create(int device_index, const WkvCudaShape& shape);
  PagedDevice(int device_index, const WkvCudaShape& shape);

  // Makes the device the calling thread's.
  void enter() const {
    // An error that the thread still has, perhaps another device's, is not this one's.
    static_cast<void>(cudaGetLastError());
    check(cudaSetDevice(device), "choosing the GPU");
  }

  // A page of either pool; memory that the other, or another model on this device, does not use is taken from
  // it. With the mutex held.
  float* take_page(bool packed);
  // Frees what no page uses. With the mutex held.
  bool trim();

  std::mutex mutex;
  std::atomic<bool> has_model{true};  // else what its pages leave is freed at once
  std::string lost;                   // why nothing can be done on it any more; empty: it can
  const int device;
  const StateForm form;
  const std::size_t vocabulary;
  Stream stream;
  PagePool unpacked_pages;
  PagePool packed_pages;
};

}  // namespace wkv::cuda

// A session's state, as floats or packed, and then the logits that its last token was drawn from.
struct WkvCudaPage {
  WkvCudaPage(std::shared_ptr<wkv::cuda::PagedDevice> of, bool is_packed)
      : on(std::move(of)), packed(is_packed), numbers(on->take_page(is_packed)) {}
  ~WkvCudaPage() { pool().give_back(numbers); }
  WkvCudaPage(const WkvCudaPage&) = delete;
  WkvCudaPage& operator=(const WkvCudaPage&) = delete;

  std::size_t state_bytes() const;
  std::size_t bytes() const { return pool().page_bytes(); }
  float* logits() const;

  // Puts the same state and logits there.
  void copy_to(const WkvCudaPage& page) const;

  const std::shared_ptr<wkv::cuda::PagedDevice> on;
  const bool packed;
  float* const numbers;

 private:
  wkv::cuda::PagePool& pool() const { return packed ? on->packed_pages : on->unpacked_pages; }
};
