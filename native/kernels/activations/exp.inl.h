// e^x to within 2 units in the last place, with the same bits on every instruction set. The argument is
// clamped to [-87, 88], where the result is a normal float. x = n ln 2 + r with |r| <= ln 2 / 2, and
// e^r by its Taylor series to r^7 (the next term is below 6e-9).

namespace wkv::WKV_ISA_NAMESPACE {

inline F32x16 exp(F32x16 x) {
  x = min(broadcast(88.0F), max(broadcast(-87.0F), x));
  const F32x16 shift = broadcast(compiler::kRounder);
  const F32x16 shifted = fma(x, broadcast(1.44269504F), shift);
  const F32x16 n = sub(shifted, shift);
  F32x16 r = fma(n, broadcast(-0.693359375F), x);  // ln 2 = 0.693359375 - 2.12194440e-4
  r = fma(n, broadcast(2.12194440e-4F), r);
  F32x16 p = broadcast(1.0F / 5040.0F);
  p = fma(p, r, broadcast(1.0F / 720.0F));
  p = fma(p, r, broadcast(1.0F / 120.0F));
  p = fma(p, r, broadcast(1.0F / 24.0F));
  p = fma(p, r, broadcast(1.0F / 6.0F));
  p = fma(p, r, broadcast(0.5F));
  p = fma(p, r, broadcast(1.0F));
  p = fma(p, r, broadcast(1.0F));
  return scale_by_exponent(p, shifted);
}

inline F32x16 sigmoid(F32x16 x) {
  const F32x16 one = broadcast(1.0F);
  return div(one, add(one, exp(sub(broadcast(0.0F), x))));
}

// 1 - e^-x for x >= 0 (NaN gives NaN), to within a few units in the last place, also where it is close to x.
// With z = min(x, 1/2) it is (1 - e^(z - x)) + e^(z - x) (1 - e^-z): the series of the last factor loses
// nothing, and up to 1/2 the rest is exactly 0 and 1.
inline F32x16 one_minus_exp(F32x16 x) {
  const F32x16 one = broadcast(1.0F);
  const F32x16 z = min(broadcast(0.5F), x);
  F32x16 p = broadcast(1.0F / 362880.0F);
  p = fma(p, z, broadcast(-1.0F / 40320.0F));
  p = fma(p, z, broadcast(1.0F / 5040.0F));
  p = fma(p, z, broadcast(-1.0F / 720.0F));
  p = fma(p, z, broadcast(1.0F / 120.0F));
  p = fma(p, z, broadcast(-1.0F / 24.0F));
  p = fma(p, z, broadcast(1.0F / 6.0F));
  p = fma(p, z, broadcast(-0.5F));
  p = fma(p, z, one);
  const F32x16 rest = exp(sub(z, x));
  return fma(mul(p, z), rest, sub(one, rest));
}

}  // namespace wkv::WKV_ISA_NAMESPACE
