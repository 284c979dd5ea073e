#include "kernels/isa/int8.inl.h"
#include "kernels/isa/kernels.inl.h"

namespace wkv {

const KernelTable& portable_kernels() {
  static const KernelTable table = portable::make_kernel_table("portable", portable::kInt8Kernels);
  return table;
}

}  // namespace wkv
