namespace wkv::WKV_ISA_NAMESPACE {

// Zero times infinity or NaN is NaN, and a NaN stays in the sum.
inline bool copy_finite(float* y, const float* x, int size) {
  F32x16 sum = broadcast(0.0F);
  for_each_16(size, [&](int i, auto load_part, auto store_part) {
    const F32x16 part = load_part(x + i);
    store_part(y + i, part);
    sum = fma(part, broadcast(0.0F), sum);
  });
  return reduce_add(sum) == 0.0F;
}

inline void maxima(float* y, const float* x, int size) {
  const float least = -compiler::kInfinity;
  for (int begin = 0; begin < size; begin += kMaximaBlock) {
    const int end = size - begin < kMaximaBlock ? size : begin + kMaximaBlock;
    F32x16 most = broadcast(least);
    int i = begin;
    for (; i + 16 <= end; i += 16) most = max(most, load(x + i));
    if (i < end) {
      float rest[16];
      store(rest, broadcast(least));
      store_first(rest, load_first(x + i, end - i), end - i);
      most = max(most, load(rest));
    }
    // Of -0 and 0, which are equal, instruction sets take different ones; the sum is 0.
    store(y + begin / kMaximaBlock * 16, add(most, broadcast(0.0F)));
  }
}

// Sums of floats are kept short: lane l adds the elements i with i mod 16 = l of 512, the lanes are added by
// reduce_add, and these sums in double precision. `terms(i, load_part, store_part)` gives 16 of them, and
// 0 where there is none.
template <class Terms>
inline double sum_16(int size, Terms terms) {
  double total = 0;
  for (int begin = 0; begin < size; begin += 512) {
    F32x16 sum = broadcast(0.0F);
    for_each_16(size - begin < 512 ? size - begin : 512, [&](int i, auto load_part, auto store_part) {
      sum = add(sum, terms(begin + i, load_part, store_part));
    });
    total += static_cast<double>(reduce_add(sum));
  }
  return total;
}

inline double weigh(float* y, const float* x, float highest, float scale, int size) {
  return sum_16(size, [&](int i, auto load_part, auto store_part) {
    const F32x16 weights = exp(mul(sub(load_part(x + i), broadcast(highest)), broadcast(scale)));
    store_part(y + i, weights);
    return load_part(y + i);  // without the lanes beyond the end
  });
}

inline double sum_at_least(const float* w, const float* x, float lowest, int size) {
  return sum_16(size, [&](int i, auto load_part, auto) {
    return zero_unless_at_least(load_part(x + i), broadcast(lowest), load_part(w + i));
  });
}

inline int collect(std::uint32_t* indices, const float* x, float lowest, float below, int size,
                   int capacity) {
  int count = 0;
  for (int i = 0; i < size; i += 16) {
    const int rest = size - i;
    const F32x16 part = rest >= 16 ? load(x + i) : load_first(x + i, rest);
    std::uint32_t mask = mask_at_least(part, broadcast(lowest));
    if (mask == 0) continue;
    mask &= ~mask_at_least(part, broadcast(below));
    if (rest < 16) mask &= (1U << rest) - 1U;
    for (; mask != 0; mask &= mask - 1U) {
      if (count == capacity) return capacity + 1;
      indices[count++] = static_cast<std::uint32_t>(i + compiler::trailing_zeros(mask));
    }
  }
  return count;
}

inline void add_to_buckets(double* sums, const float* w, const float* x, float highest, float scale,
                           int size) {
  const F32x16 shift = broadcast(compiler::kRounder);
  for_each_16(size, [&](int begin, auto load_part, auto) {
    const F32x16 place = mul(sub(broadcast(highest), load_part(x + begin)), broadcast(scale));
    float shifted[16];
    store(shifted, add(min(place, broadcast(static_cast<float>(kBuckets - 1))), shift));
    const int count = size - begin < 16 ? size - begin : 16;
    for (int lane = 0; lane < count; ++lane) {
      std::uint32_t bits;
      std::memcpy(&bits, &shifted[lane], sizeof bits);
      sums[bits & (kBuckets - 1U)] += static_cast<double>(w[begin + lane]);
    }
  });
}

}  // namespace wkv::WKV_ISA_NAMESPACE
