#pragma once

#include <cstdint>

#include "kernels/compiler.h"

namespace wkv {

// Makes this thread treat denormal numbers as zero, as operands and as results. A decayed state is full of
// them, and they are some fifty times slower. Called once at the start of every thread that runs kernels.
inline void flush_denormals() { compiler::flush_denormals(); }

// The same for as long as it lives, on a thread that belongs to someone else, who needs denormals.
class FlushDenormals {
 public:
  FlushDenormals() : before_(compiler::float_control()) { compiler::flush_denormals(); }
  ~FlushDenormals() { compiler::set_float_control(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  const std::uint64_t before_;
};

}  // namespace wkv
