#include "backend/cpu/memory.h"

#include <cstring>
#include <new>
#include <utility>

#if defined(_WIN32)
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace wkv {

namespace {

constexpr std::align_val_t kAlignment{64};

// Zeroed pages from the system; null if there are none.
void* map_pages(std::size_t bytes) {
#if defined(_WIN32)
  return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
#else
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) return nullptr;
#if defined(__linux__)
  // Advice only: without huge pages everything still works.
  constexpr std::size_t kHugePageFrom = std::size_t{8} << 20;
  if (bytes >= kHugePageFrom) static_cast<void>(madvise(block, bytes, MADV_HUGEPAGE));
#endif
  return block;
#endif
}

void unmap_pages(void* block, [[maybe_unused]] std::size_t bytes) {
#if defined(_WIN32)
  VirtualFree(block, 0, MEM_RELEASE);
#else
  // Fails where it would leave more mappings than the system allows. The pages are given back all the same.
  if (munmap(block, bytes) != 0) static_cast<void>(madvise(block, bytes, MADV_DONTNEED));
#endif
}

}  // namespace

Memory::Memory(std::size_t bytes, std::size_t map_from) : bytes_(bytes) {
  if (bytes >= map_from) {
    void* block = map_pages(bytes);
    if (block == nullptr) throw std::bad_alloc{};
    block_ = std::unique_ptr<void, Release>{block, Release{bytes, nullptr}};
    return;
  }
  void* block = ::operator new(bytes == 0 ? 1 : bytes, kAlignment);
  std::memset(block, 0, bytes);
  block_ = std::unique_ptr<void, Release>{block, Release{0, nullptr}};
}

Memory::Memory(std::shared_ptr<const void> whole, const void* part, std::size_t bytes)
    : block_(const_cast<void*>(part), Release{0, std::move(whole)}), bytes_(bytes) {}

void Memory::Release::operator()(void* block) const {
  if (whole != nullptr) return;
  if (mapped != 0) {
    unmap_pages(block, mapped);
  } else {
    ::operator delete(block, kAlignment);
  }
}

}  // namespace wkv
