#pragma once

#include "kernels/compiler.h"

namespace wkv {

// Makes this thread treat denormal numbers as zero, as operands and as results. A decayed state is full of
// them, and they are some fifty times slower. Called once at the start of every thread that runs kernels.
inline void flush_denormals() { compiler::flush_denormals(); }

}  // namespace wkv
