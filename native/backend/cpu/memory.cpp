#include "backend/cpu/memory.h"

#include <cstring>
#include <new>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#endif

namespace wkv {

namespace {
constexpr std::align_val_t kAlignment{64};
#if defined(__unix__) || defined(__APPLE__)
constexpr std::size_t kHugePageFrom = std::size_t{8} << 20;
#endif
}  // namespace

Memory::Memory(std::size_t bytes, [[maybe_unused]] std::size_t map_from) : bytes_(bytes) {
#if defined(__unix__) || defined(__APPLE__)
  if (bytes >= map_from) {
    void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) throw std::bad_alloc{};
#if defined(__linux__)
    // Advice only: without huge pages everything still works.
    if (bytes >= kHugePageFrom) static_cast<void>(madvise(block, bytes, MADV_HUGEPAGE));
#endif
    block_ = std::unique_ptr<void, Release>{block, Release{bytes}};
    return;
  }
#endif
  void* block = ::operator new(bytes == 0 ? 1 : bytes, kAlignment);
  std::memset(block, 0, bytes);
  block_ = std::unique_ptr<void, Release>{block, Release{0}};
}

void Memory::Release::operator()(void* block) const {
#if defined(__unix__) || defined(__APPLE__)
  if (mapped != 0) {
    munmap(block, mapped);
    return;
  }
#endif
  ::operator delete(block, kAlignment);
}

}  // namespace wkv
