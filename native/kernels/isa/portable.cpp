#include "kernels/isa/int8.inl.h"
#include "kernels/isa/kernels.inl.h"

namespace wkv {

const KernelTable& portable_kernels() {
  static const KernelTable table = portable::make_kernel_table("portable", portable::kQuantizedKernels);
  return table;
}

}  // namespace wkv
