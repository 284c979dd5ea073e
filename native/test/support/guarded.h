#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace wkv::test {

// An array for kernels: its end is the end of a page, and the next page may not be touched, so that reading
// or writing beyond it is a crash in every build. Before it lies a band that intact() looks at. As a
// consequence its alignment is whatever its size makes it.
template <class Element>
class Guarded {
 public:
  explicit Guarded(std::size_t size) : size_(size) {
    const std::size_t bytes = kBand + size * sizeof(Element);
#if defined(__unix__) || defined(__APPLE__)
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    mapped_ = (bytes + page - 1) / page * page + page;
    void* block = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) throw std::bad_alloc{};
    block_ = static_cast<unsigned char*>(block);
    unsigned char* const end = block_ + mapped_ - page;
    static_cast<void>(mprotect(end, page, PROT_NONE));
#else
    block_ = static_cast<unsigned char*>(::operator new(bytes));
    unsigned char* const end = block_ + bytes;
#endif
    data_ = reinterpret_cast<Element*>(end - size * sizeof(Element));
    std::memset(band(), kMark, kBand);
  }

  explicit Guarded(std::span<const Element> values) : Guarded(values.size()) {
    std::copy(values.begin(), values.end(), data_);
  }

  ~Guarded() {
#if defined(__unix__) || defined(__APPLE__)
    munmap(block_, mapped_);
#else
    ::operator delete(block_);
#endif
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  Element* data() { return data_; }
  std::span<Element> values() { return {data_, size_}; }
  std::vector<Element> copy() const { return {data_, data_ + size_}; }

  // Nothing was written before the array.
  bool intact() const {
    return std::all_of(band(), band() + kBand, [](unsigned char byte) { return byte == kMark; });
  }

 private:
  static constexpr std::size_t kBand = 256;
  static constexpr unsigned char kMark = 0xa5;

  unsigned char* band() const { return reinterpret_cast<unsigned char*>(data_) - kBand; }

  std::size_t size_;
  std::size_t mapped_ = 0;
  unsigned char* block_ = nullptr;
  Element* data_ = nullptr;
};

}  // namespace wkv::test
