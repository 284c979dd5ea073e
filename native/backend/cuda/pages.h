#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/cuda/memory.h"

namespace wkv::cuda {

// The states of a model's sessions, each with the logits that its last token was drawn from: blocks of one
// size, taken from the GPU many at a time, and kept for the next session when one ends. Throws Failed.
class PagePool {
 public:
  PagePool(std::size_t state_floats, std::size_t vocabulary)
      : state_floats_(state_floats),
        vocabulary_(vocabulary),
        page_floats_((state_floats + vocabulary + kAligned - 1) / kAligned * kAligned) {}

  std::size_t state_floats() const { return state_floats_; }
  std::size_t vocabulary() const { return vocabulary_; }
  std::size_t page_floats() const { return page_floats_; }

  float* take();
  void give_back(float* page) { free_.push_back(page); }

 private:
  // Pages begin where those of memory do.
  static constexpr std::size_t kAligned = 64;

  void grow(std::size_t pages);

  std::size_t state_floats_;
  std::size_t vocabulary_;
  std::size_t page_floats_;
  std::vector<DeviceArray<float>> slabs_;
  std::vector<float*> free_;  // has room for all pages, so that give_back() cannot fail
  std::size_t pages_ = 0;
};

// What a model and its pages share, and what remains of it as long as there are pages. Whoever uses any of it
// holds the mutex.
struct PagedDevice {
  PagedDevice(int device_index, std::size_t state_floats, std::size_t vocabulary)
      : device(device_index), pages(state_floats, vocabulary) {}

  // Makes the device the calling thread's.
  void enter() const { check(cudaSetDevice(device), "choosing the GPU"); }

  std::mutex mutex;
  std::string lost;  // why nothing can be done on it any more; empty: it can
  const int device;
  Stream stream;
  PagePool pages;
};

}  // namespace wkv::cuda

struct WkvCudaPage {
  WkvCudaPage(std::shared_ptr<wkv::cuda::PagedDevice> of) : on(std::move(of)), numbers(on->pages.take()) {}
  ~WkvCudaPage() { on->pages.give_back(numbers); }
  WkvCudaPage(const WkvCudaPage&) = delete;
  WkvCudaPage& operator=(const WkvCudaPage&) = delete;

  float* logits() const { return numbers + on->pages.state_floats(); }

  const std::shared_ptr<wkv::cuda::PagedDevice> on;
  float* const numbers;  // the state, then the logits
};
