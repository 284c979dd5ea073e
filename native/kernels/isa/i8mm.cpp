#define WKV_ISA_NEON 1
#define WKV_DOT_I8MM 1
#define WKV_ISA_NAMESPACE i8mm
#include "kernels/isa/int8.inl.h"

namespace wkv {

const KernelTable& i8mm_kernels() {
  static const KernelTable table = [] {
    KernelTable all = neon_kernels();
    all.name = "i8mm";
    all.quantized = i8mm::kQuantizedKernels;
    return all;
  }();
  return table;
}

}  // namespace wkv
