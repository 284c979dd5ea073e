#define WKV_ISA_AVX512 1
#define WKV_DOT_AVX512VNNI 1
#define WKV_ISA_NAMESPACE avx512vnni
#include "kernels/isa/int8.inl.h"

namespace wkv {

const KernelTable& avx512vnni_kernels() {
  static const KernelTable table = [] {
    KernelTable all = avx512_kernels();
    all.name = "avx512vnni";
    all.quantized = avx512vnni::kQuantizedKernels;
    return all;
  }();
  return table;
}

}  // namespace wkv
