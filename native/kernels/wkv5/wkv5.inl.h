// The bonus term does not depend on the state: sum_i r[i] u[i] k[i] v[j] = v[j] * sum_i r[i] u[i] k[i], one
// scalar per token. What remains runs over the value channels j, sixteen to a register, run of keys by run;
// the state of a head (16 KiB at N = 64) stays in the first-level cache over the tokens.

namespace wkv::WKV_ISA_NAMESPACE {

inline float wkv5_bonus(const float* r, const float* k, const float* u, int size) {
  F32x16 sum = broadcast(0.0F);
  for_each_16(size, [&](int i, auto load_part, auto) {
    sum = fma(mul(load_part(r + i), load_part(u + i)), load_part(k + i), sum);
  });
  return reduce_add(sum);
}

// Where a run of key channels ends that begins at `begin`.
inline int wkv5_run_end(int begin, int size) {
  const int end = begin + (size + kWkv5Runs - 1) / kWkv5Runs;
  return end < size ? end : size;
}

// Head sizes that are a multiple of 64: four registers of value channels at a time.
inline void wkv5_token_by_64(const Wkv5Arguments& a, const float* r, const float* k, const float* v,
                             const float* forgets, float* y, float bonus) {
  const int size = a.head_size;
  for (int j = 0; j < size; j += 64) {
    F32x16 value[4];
    WKV_UNROLLED
    for (int c = 0; c < 4; ++c) value[c] = load(v + j + 16 * c);
    F32x16 pairs[2][4];
    float* row = a.state + j;
    int i = 0;
    WKV_UNROLLED
    for (int run = 0; run < kWkv5Runs; ++run) {
      F32x16 sum[4];
      WKV_UNROLLED
      for (int c = 0; c < 4; ++c) sum[c] = broadcast(0.0F);
      for (const int end = wkv5_run_end(i, size); i < end; ++i, row += size) {
        const F32x16 receptance = broadcast(r[i]);
        const F32x16 key = broadcast(k[i]);
        const F32x16 forget = broadcast(-forgets[i]);
        WKV_UNROLLED
        for (int c = 0; c < 4; ++c) {
          const F32x16 s = load(row + 16 * c);
          sum[c] = fma(receptance, s, sum[c]);
          store(row + 16 * c, fma(key, value[c], fma(forget, s, s)));
        }
      }
      F32x16(&pair)[4] = pairs[run / 2];
      WKV_UNROLLED
      for (int c = 0; c < 4; ++c) pair[c] = run % 2 == 0 ? sum[c] : add(pair[c], sum[c]);
    }
    WKV_UNROLLED
    for (int c = 0; c < 4; ++c) {
      store(y + j + 16 * c, fma(value[c], broadcast(bonus), add(pairs[0][c], pairs[1][c])));
    }
  }
}

inline void wkv5_token(const Wkv5Arguments& a, const float* r, const float* k, const float* v,
                       const float* forgets, float* y, float bonus) {
  const int size = a.head_size;
  for_each_16(size, [&](int j, auto load_part, auto store_part) {
    const F32x16 value = load_part(v + j);
    F32x16 pairs[2];
    float* row = a.state + j;
    int i = 0;
    WKV_UNROLLED
    for (int run = 0; run < kWkv5Runs; ++run) {
      F32x16 sum = broadcast(0.0F);
      for (const int end = wkv5_run_end(i, size); i < end; ++i, row += size) {
        const F32x16 s = load_part(row);
        sum = fma(broadcast(r[i]), s, sum);
        store_part(row, fma(broadcast(k[i]), value, fma(broadcast(-forgets[i]), s, s)));
      }
      F32x16& pair = pairs[run / 2];
      pair = run % 2 == 0 ? sum : add(pair, sum);
    }
    store_part(y + j, fma(value, broadcast(bonus), add(pairs[0], pairs[1])));
  });
}

inline void wkv5(const Wkv5Arguments& a) {
  const bool by_64 = a.head_size % 64 == 0;
  for (int t = 0; t < a.tokens; ++t) {
    const std::ptrdiff_t at = t * a.stride;
    const float* forgets = a.forget + t * a.forget_stride;
    if (t + 1 < a.tokens) {
      // Its rows are too far from this one's for caches to look ahead by themselves.
      const std::ptrdiff_t next = at + a.stride;
      for (int i = 0; i < a.head_size; i += 16) {
        WKV_PREFETCH(a.r + next + i);
        WKV_PREFETCH(a.k + next + i);
        WKV_PREFETCH(a.v + next + i);
        WKV_PREFETCH(a.y + next + i);
      }
    }
    const float bonus = wkv5_bonus(a.r + at, a.k + at, a.u, a.head_size);
    if (by_64) {
      wkv5_token_by_64(a, a.r + at, a.k + at, a.v + at, forgets, a.y + at, bonus);
    } else {
      wkv5_token(a, a.r + at, a.k + at, a.v + at, forgets, a.y + at, bonus);
    }
  }
}

}  // namespace wkv::WKV_ISA_NAMESPACE
