#define WKV_ISA_NEON 1
#define WKV_DOT_NEON 1
#define WKV_ISA_NAMESPACE dotprod
#include "kernels/isa/int8.inl.h"

namespace wkv {

const KernelTable& dotprod_kernels() {
  static const KernelTable table = [] {
    KernelTable all = neon_kernels();
    all.name = "dotprod";
    all.quantized = dotprod::kQuantizedKernels;
    return all;
  }();
  return table;
}

}  // namespace wkv
