#define WKV_ISA_NEON 1
#include "kernels/isa/int8.inl.h"
#include "kernels/isa/kernels.inl.h"

namespace wkv {

const KernelTable& neon_kernels() {
  static const KernelTable table = neon::make_kernel_table("neon", neon::kQuantizedKernels);
  return table;
}

}  // namespace wkv
