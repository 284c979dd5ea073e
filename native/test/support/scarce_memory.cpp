#include "test/support/scarce_memory.h"

#include <cstddef>
#include <cstdlib>
#include <new>

// In a file of its own: inlined, `free` of what `new` gave would be warned of.

namespace {
thread_local bool is_scarce = false;
thread_local std::size_t refused_from = 0;
}  // namespace

void wkv::test::make_memory_scarce(bool scarce, std::size_t from) {
  is_scarce = scarce;
  refused_from = from;
}

void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  const bool refused = is_scarce && bytes >= refused_from;
  return refused ? nullptr : std::malloc(bytes == 0 ? 1 : bytes);
}
void* operator new(std::size_t bytes) {
  void* const block = operator new(bytes, std::nothrow);
  if (block == nullptr) throw std::bad_alloc{};
  return block;
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { std::free(block); }
