#pragma once

#include <cstddef>

namespace wkv::test {

// Whether this thread gets no block of so many bytes or more from `new` from now on. Not for what is aligned,
// as Memory is.
void make_memory_scarce(bool scarce, std::size_t refused_from = 1024);

}  // namespace wkv::test
