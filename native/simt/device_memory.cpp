#include "simt/device_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>

namespace wkv::cuda::simt {

DeviceMemory::DeviceMemory(std::size_t bytes) : bytes_(bytes) {
  // What a kernel may rely on.
  constexpr std::size_t kAlignment = 16;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const std::size_t inside = (padded + page - 1) / page * page;
  mapped_ = inside + 2 * page;
  block_ = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block_ == MAP_FAILED) throw std::bad_alloc{};
  unsigned char* const begin = static_cast<unsigned char*>(block_) + page;
  if (mprotect(begin, inside, PROT_READ | PROT_WRITE) != 0) {
    munmap(block_, mapped_);
    throw std::bad_alloc{};
  }
  data_ = begin + inside - padded;
  std::memset(data_, 0xff, padded);
}

DeviceMemory::~DeviceMemory() { munmap(block_, mapped_); }

}  // namespace wkv::cuda::simt
