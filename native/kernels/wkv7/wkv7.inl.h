// The sums run over a row of the state, sixteen key channels to a register. A row is read twice and written
// once; the state of a head (16 KiB at N = 64) stays in the first-level cache over the run of tokens.

namespace wkv::WKV_ISA_NAMESPACE {

// Rows whose sums run beside each other: one alone would wait for each of its own additions.
constexpr int kWkv7Rows = 4;

template <int kRows>
inline void wkv7_rows(const Wkv7Arguments& a, std::ptrdiff_t at, int j) {
  const int size = a.head_size;
  float* const rows = a.state + std::ptrdiff_t{j} * size;
  F32x16 sums[kWkv7Rows];
  WKV_UNROLLED
  for (int row = 0; row < kRows; ++row) sums[row] = broadcast(0.0F);
  for_each_16(size, [&](int i, auto load_part, auto) {
    const F32x16 kappa = load_part(a.kappa + at + i);
    WKV_UNROLLED
    for (int row = 0; row < kRows; ++row) {
      sums[row] = fma(load_part(rows + std::ptrdiff_t{row} * size + i), kappa, sums[row]);
    }
  });
  F32x16 taken[kWkv7Rows];
  F32x16 value[kWkv7Rows];
  WKV_UNROLLED
  for (int row = 0; row < kRows; ++row) {
    taken[row] = broadcast(-reduce_add(sums[row]));
    value[row] = broadcast(a.v[at + j + row]);
    sums[row] = broadcast(0.0F);
  }
  for_each_16(size, [&](int i, auto load_part, auto store_part) {
    const F32x16 forget = sub(broadcast(0.0F), load_part(a.forget + at + i));
    const F32x16 b = load_part(a.b + at + i);
    const F32x16 k = load_part(a.k + at + i);
    const F32x16 r = load_part(a.r + at + i);
    WKV_UNROLLED
    for (int row = 0; row < kRows; ++row) {
      float* const place = rows + std::ptrdiff_t{row} * size + i;
      const F32x16 old = load_part(place);
      const F32x16 s = fma(value[row], k, fma(taken[row], b, fma(forget, old, old)));
      store_part(place, s);
      sums[row] = fma(s, r, sums[row]);
    }
  });
  WKV_UNROLLED
  for (int row = 0; row < kRows; ++row) a.y[at + j + row] = reduce_add(sums[row]);
}

inline void wkv7(const Wkv7Arguments& a) {
  for (int t = 0; t < a.tokens; ++t) {
    const std::ptrdiff_t at = t * a.stride;
    int j = 0;
    for (; j + kWkv7Rows <= a.head_size; j += kWkv7Rows) wkv7_rows<kWkv7Rows>(a, at, j);
    for (; j < a.head_size; ++j) wkv7_rows<1>(a, at, j);
  }
}

inline void wkv7_keys(const Wkv7KeysArguments& a) {
  F32x16 squares = broadcast(0.0F);
  for_each_16(a.head_size, [&](int i, auto load_part, auto) {
    const F32x16 part = mul(load_part(a.k + i), load_part(a.k_k + i));
    squares = fma(part, part, squares);
  });
  const float length = compiler::sqrt(reduce_add(squares));
  const F32x16 scale = broadcast(1.0F / (length > 1e-12F ? length : 1e-12F));
  for_each_16(a.head_size, [&](int i, auto load_part, auto store_part) {
    const F32x16 k = load_part(a.k + i);
    const F32x16 rate = load_part(a.a + i);
    const F32x16 kappa = mul(mul(k, load_part(a.k_k + i)), scale);
    store_part(a.kappa + i, kappa);
    store_part(a.b + i, mul(kappa, rate));
    const F32x16 change = mul(sub(rate, broadcast(1.0F)), load_part(a.k_a + i));
    store_part(a.k + i, fma(k, change, k));
  });
}

inline void wkv7_bonus(const Wkv7BonusArguments& a) {
  F32x16 sum = broadcast(0.0F);
  for_each_16(a.head_size, [&](int i, auto load_part, auto) {
    sum = fma(mul(load_part(a.r + i), load_part(a.k + i)), load_part(a.r_k + i), sum);
  });
  const F32x16 all = broadcast(reduce_add(sum));
  for_each_16(a.head_size, [&](int i, auto load_part, auto store_part) {
    store_part(a.y + i, fma(all, load_part(a.v + i), load_part(a.y + i)));
  });
}

}  // namespace wkv::WKV_ISA_NAMESPACE
