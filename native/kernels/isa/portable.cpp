#include "kernels/isa/kernels.inl.h"

namespace wkv {

const KernelTable& portable_kernels() {
  static const KernelTable table = portable::make_kernel_table("portable");
  return table;
}

}  // namespace wkv
