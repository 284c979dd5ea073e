#pragma once

// Memory of the simulated GPU: each block ends at a page that nobody may touch, and begins behind one, so
// that an access beyond it ends the process in every build.

#include <cstddef>

namespace wkv::cuda::simt {

class DeviceMemory {
 public:
  // Filled with bytes of 0xff, floats of NaN. Throws std::bad_alloc.
  explicit DeviceMemory(std::size_t bytes);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  unsigned char* data() { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  std::size_t bytes_;
  std::size_t mapped_;
  void* block_;
  unsigned char* data_;
};

}  // namespace wkv::cuda::simt
