// Dot products of bytes; see peak.h. Where product and sum are instructions of their own, the sums are
// operands of the products too: a compiler would take a product that stays the same out of the loop.

namespace wkv::WKV_ISA_NAMESPACE {

#if WKV_DOT_AVX512VNNI
#define WKV_PEAK_INT8_SUMS 12
using PeakRegister = __m512i;
inline PeakRegister add_dot(PeakRegister sums, PeakRegister bytes) {
  return _mm512_dpbusd_epi32(sums, bytes, bytes);
}
#elif WKV_DOT_AVXVNNI
#define WKV_PEAK_INT8_SUMS 12
using PeakRegister = __m256i;
inline PeakRegister add_dot(PeakRegister sums, PeakRegister bytes) {
  return _mm256_dpbusd_avx_epi32(sums, bytes, bytes);
}
#elif WKV_ISA_AVX2
#define WKV_PEAK_INT8_SUMS 12
using PeakRegister = __m256i;
inline PeakRegister add_dot(PeakRegister sums, PeakRegister bytes) {
  const __m256i pairs = _mm256_maddubs_epi16(sums, bytes);
  return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#elif WKV_DOT_I8MM
#define WKV_PEAK_INT8_SUMS 16
using PeakRegister = int32x4_t;
inline PeakRegister add_dot(PeakRegister sums, PeakRegister bytes) {
  return vusmmlaq_s32(sums, vreinterpretq_u8_s32(bytes), vreinterpretq_s8_s32(bytes));
}
#elif WKV_DOT_NEON
#define WKV_PEAK_INT8_SUMS 16
using PeakRegister = int32x4_t;
inline PeakRegister add_dot(PeakRegister sums, PeakRegister bytes) {
  return vdotq_s32(sums, vreinterpretq_s8_s32(bytes), vreinterpretq_s8_s32(bytes));
}
#elif WKV_ISA_NEON
#define WKV_PEAK_INT8_SUMS 10
using PeakRegister = int32x4_t;
inline PeakRegister add_dot(PeakRegister sums, PeakRegister bytes) {
  const int8x16_t a = vreinterpretq_s8_s32(sums);
  const int8x16_t b = vreinterpretq_s8_s32(bytes);
  return vpadalq_s16(sums, vmlal_high_s8(vmull_s8(vget_low_s8(a), vget_low_s8(b)), a, b));
}
#endif

#if WKV_PEAK_INT8_SUMS

// Sums have so many products each in a turn: gcc copies registers between turns.
constexpr std::size_t kPeakTimes = 8;

// Calls body(sum, index) for all sums, kTimes times. Not a loop: gcc would keep the sums in memory too.
template <std::size_t kTimes, std::size_t kStep = 0, class Body>
inline void for_each_sum(PeakRegister* sums, Body body) {
  constexpr std::size_t kSum = kStep % WKV_PEAK_INT8_SUMS;
  body(sums[kSum], kSum);
  if constexpr (kStep + 1 < kTimes * WKV_PEAK_INT8_SUMS) for_each_sum<kTimes, kStep + 1>(sums, body);
}

inline double peak_int8(int turns) {
  constexpr std::size_t kSize = sizeof(PeakRegister);
  // No two registers alike: a compiler would compute them once.
  unsigned char start[kSize * (WKV_PEAK_INT8_SUMS + 1)];
  for (std::size_t i = 0; i < sizeof start; ++i) start[i] = static_cast<unsigned char>(i / 16 * 5 + i);
  PeakRegister bytes;
  std::memcpy(&bytes, start + kSize * WKV_PEAK_INT8_SUMS, kSize);
  PeakRegister sums[WKV_PEAK_INT8_SUMS];
  for_each_sum<1>(sums,
                  [&](PeakRegister& sum, std::size_t i) { std::memcpy(&sum, start + kSize * i, kSize); });
  for (int turn = 0; turn < turns; ++turn) {
    for_each_sum<kPeakTimes>(sums, [bytes](PeakRegister& sum, std::size_t) { sum = add_dot(sum, bytes); });
  }
  PeakRegister all = bytes;
  for_each_sum<1>(sums, [&all](PeakRegister& sum, std::size_t) { all = add_dot(all, sum); });
  std::uint32_t first;
  std::memcpy(&first, &all, sizeof first);
  const volatile std::uint32_t used = first;
  static_cast<void>(used);
  // A product for each byte of the sums; i8mm multiplies two rows with two columns, twice as many.
#if WKV_DOT_I8MM
  constexpr std::size_t kProducts = 2 * sizeof sums;
#else
  constexpr std::size_t kProducts = sizeof sums;
#endif
  return 2.0 * static_cast<double>(kPeakTimes * kProducts) * turns;
}

#else

// What compilers make of the portable form depends on them, and so does its ceiling.
inline double peak_int8(int) { return 0; }

#endif

}  // namespace wkv::WKV_ISA_NAMESPACE
