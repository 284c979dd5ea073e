#define WKV_ISA_AVX2 1
#define WKV_DOT_AVXVNNI 1
#define WKV_ISA_NAMESPACE avxvnni
#include "kernels/isa/int8.inl.h"

namespace wkv {

const KernelTable& avxvnni_kernels() {
  static const KernelTable table = [] {
    KernelTable all = avx2_kernels();
    all.name = "avxvnni";
    all.quantized = avxvnni::kQuantizedKernels;
    return all;
  }();
  return table;
}

}  // namespace wkv
