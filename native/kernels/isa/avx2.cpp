#define WKV_ISA_AVX2 1
#include "kernels/isa/int8.inl.h"
#include "kernels/isa/kernels.inl.h"

namespace wkv {

const KernelTable& avx2_kernels() {
  static const KernelTable table = avx2::make_kernel_table("avx2", avx2::kQuantizedKernels);
  return table;
}

}  // namespace wkv
