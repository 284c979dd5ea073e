// Instead of backend/cpu/cpu_features.cpp: what is emulated here, beside what needs nothing.

#include "backend/cpu/cpu_features.h"

namespace wkv {

std::span<const KernelTable* const> available_kernels() {
  static const KernelTable* const tables[] = {&avx512vnni_kernels(), &avx512_kernels(), &portable_kernels()};
  return tables;
}

const KernelTable& selected_kernels() { return avx512vnni_kernels(); }

}  // namespace wkv
