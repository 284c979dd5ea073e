#pragma once

#include <cstddef>
#include <cstdint>

namespace wkv {

// XXH64 with seed 0 (xxHash specification 0.1.1): finds accidental damage and tells weights apart; it is no
// protection against somebody who wants a collision.
std::uint64_t xxh64(const void* data, std::size_t size);

}  // namespace wkv
