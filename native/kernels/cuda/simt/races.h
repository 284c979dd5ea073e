#pragma once

// Finds two accesses to one byte, of different threads and at least one of them writing, that nothing puts in
// order: no barrier of the block between them, or different blocks.
//
// Kernels compiled with -fsanitize=thread call hooks before each access (race_hooks.cpp, instead of the
// compiler's own library). Without it, only what the harness does itself is looked at. A shuffle orders
// nothing.

#include <cstddef>

namespace wkv::cuda::simt::races {

void begin_launch();
void begin_block();
void end_launch();

void on_read(const void* place, std::size_t bytes, const void* instruction = nullptr);
void on_write(const void* place, std::size_t bytes, const void* instruction = nullptr);

}  // namespace wkv::cuda::simt::races
