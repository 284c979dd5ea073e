// Fused multiply-adds; see peak.h.

namespace wkv::WKV_ISA_NAMESPACE {

#if WKV_ISA_AVX512
constexpr int kPeakF32Sums = 12;
#else
constexpr int kPeakF32Sums = 6;  // of two registers with AVX2, of four with NEON
#endif

inline double peak_f32(int turns) {
  // No two registers alike: a compiler would compute them once.
  float start[kPeakF32Sums * 16];
  for (int i = 0; i < kPeakF32Sums * 16; ++i) start[i] = static_cast<float>(i);
  F32x16 sums[kPeakF32Sums];
  for (int i = 0; i < kPeakF32Sums; ++i) sums[i] = load(start + i * 16);
  const F32x16 half = broadcast(0.5F);
  const F32x16 one = broadcast(1.0F);
  for (int turn = 0; turn < turns; ++turn) {
    for (F32x16& sum : sums) sum = fma(sum, half, one);
  }
  F32x16 all = sums[0];
  for (int i = 1; i < kPeakF32Sums; ++i) all = add(all, sums[i]);
  const volatile float used = reduce_add(all);
  static_cast<void>(used);
  return 2.0 * 16 * kPeakF32Sums * turns;
}

}  // namespace wkv::WKV_ISA_NAMESPACE
