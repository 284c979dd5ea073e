#pragma once

namespace wkv::test {

// Whether this thread gets no block of 1 KiB or more from `new` from now on. Not for what is aligned, as
// Memory is.
void make_memory_scarce(bool scarce);

}  // namespace wkv::test
