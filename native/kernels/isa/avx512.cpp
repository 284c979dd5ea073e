#define WKV_ISA_AVX512 1
#include "kernels/isa/kernels.inl.h"

namespace wkv {

const KernelTable& avx512_kernels() {
  static const KernelTable table = avx512::make_kernel_table("avx512", avx2_kernels().quantized);
  return table;
}

}  // namespace wkv
