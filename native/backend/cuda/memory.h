#pragma once

#include <cstddef>
#include <utility>

#include "backend/cuda/failure.h"

namespace wkv::cuda {

// Memory of the GPU, or of the host where the GPU can read it. Throws Failed.
template <class Element, cudaError_t (*kTake)(void**, std::size_t), cudaError_t (*kFree)(void*)>
class Array {
 public:
  Array() = default;
  Array(std::size_t size, const char* doing) : size_(size) {
    if (size == 0) return;
    void* memory = nullptr;
    check(kTake(&memory, size * sizeof(Element)), doing);
    data_ = static_cast<Element*>(memory);
  }
  Array(Array&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Array& operator=(Array&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Array() {
    // A device that was lost has freed everything already.
    if (data_ != nullptr) static_cast<void>(kFree(data_));
  }

  Element* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  Element* data_ = nullptr;
  std::size_t size_ = 0;
};

inline cudaError_t take_device(void** memory, std::size_t bytes) { return cudaMalloc(memory, bytes); }
inline cudaError_t take_pinned(void** memory, std::size_t bytes) { return cudaMallocHost(memory, bytes); }

template <class Element>
using DeviceArray = Array<Element, take_device, cudaFree>;
template <class Element>
using PinnedArray = Array<Element, take_pinned, cudaFreeHost>;

class Stream {
 public:
  Stream() {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), kDoing);
    if (const cudaError_t error =
            cudaEventCreateWithFlags(&done_, cudaEventBlockingSync | cudaEventDisableTiming);
        error != cudaSuccess) {
      static_cast<void>(cudaStreamDestroy(stream_));
      check(error, kDoing);
    }
  }
  ~Stream() {
    static_cast<void>(cudaEventDestroy(done_));
    static_cast<void>(cudaStreamDestroy(stream_));
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }
  // The thread sleeps meanwhile.
  void wait(const char* doing) const {
    check(cudaEventRecord(done_, stream_), doing);
    check(cudaEventSynchronize(done_), doing);
  }

 private:
  static constexpr const char* kDoing = "creating a stream";

  cudaStream_t stream_ = nullptr;
  cudaEvent_t done_ = nullptr;
};

// What the host has there, in the GPU's memory. The caller may let go of it.
template <class Element>
DeviceArray<Element> upload(const void* from, std::size_t count, const Stream& stream, const char* doing) {
  DeviceArray<Element> array(count, doing);
  check(cudaMemcpyAsync(array.data(), from, count * sizeof(Element), cudaMemcpyHostToDevice, stream.get()),
        doing);
  stream.wait(doing);
  return array;
}

}  // namespace wkv::cuda
