// Sixteen channels at a time over all tokens: their state stays in registers. Exponents are never above 0,
// and one of each pair is 0, so nothing overflows and no quotient is by 0.

namespace wkv::WKV_ISA_NAMESPACE {

inline void wkv4(const Wkv4Arguments& a) {
  const F32x16 zero = broadcast(0.0F);
  for_each_16(a.size, [&](int i, auto load_part, auto store_part) {
    const F32x16 w = load_part(a.w + i);
    const F32x16 u = load_part(a.u + i);
    F32x16 aa = load_part(a.aa + i);
    F32x16 bb = load_part(a.bb + i);
    F32x16 pp = load_part(a.pp + i);
    for (int t = 0; t < a.tokens; ++t) {
      const std::ptrdiff_t at = t * a.stride + i;
      const F32x16 k = load_part(a.k + at);
      const F32x16 v = load_part(a.v + at);
      const F32x16 now = add(u, k);
      const F32x16 q = max(pp, now);
      const F32x16 before = exp(sub(pp, q));
      F32x16 current = exp(sub(now, q));
      const F32x16 average = div(fma(before, aa, mul(current, v)), fma(before, bb, current));
      store_part(a.y + at, mul(sigmoid(load_part(a.r + at)), average));
      // The difference first, which is exact where keys are alike: a rounding of pp + w would be the same
      // for each token, and they add up. So would those of e^w close to 1 (see kernels/wkv5).
      const F32x16 change = add(sub(pp, k), w);
      const F32x16 forget = sub(zero, one_minus_exp(max(zero, sub(zero, change))));
      current = exp(sub(zero, max(zero, change)));
      aa = fma(current, v, fma(forget, aa, aa));
      bb = add(current, fma(forget, bb, bb));
      pp = max(add(pp, w), k);
    }
    store_part(a.aa + i, aa);
    store_part(a.bb + i, bb);
    store_part(a.pp + i, pp);
  });
}

}  // namespace wkv::WKV_ISA_NAMESPACE
