#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace wkv {

// XXH64 with seed 0 (xxHash specification 0.1.1): finds accidental damage and tells weights apart; it is no
// protection against somebody who wants a collision.
std::uint64_t xxh64(const void* data, std::size_t size);

// The same of bytes that come in parts.
class Xxh64 {
 public:
  Xxh64();

  // A part that is not the last one: its size is a multiple of 32.
  void add(const void* data, std::size_t size);

  // The hash, with the last part.
  std::uint64_t finish(const void* data, std::size_t size);

 private:
  std::array<std::uint64_t, 4> lanes_;
  std::size_t size_ = 0;
};

}  // namespace wkv
