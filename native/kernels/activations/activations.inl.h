namespace wkv::WKV_ISA_NAMESPACE {

inline void relu_squared(float* x, int size) {
  for_each_16(size, [&](int i, auto load_part, auto store_part) {
    const F32x16 positive = max(broadcast(0.0F), load_part(x + i));
    store_part(x + i, mul(positive, positive));
  });
}

inline void sigmoid_all(float* x, int size) {
  for_each_16(size,
              [&](int i, auto load_part, auto store_part) { store_part(x + i, sigmoid(load_part(x + i))); });
}

// Of each sign its part, as 1 - e^-2|x| is exact to the last bits however small x is, and 0 for the other.
inline void tanh_all(float* x, int size) {
  const F32x16 zero = broadcast(0.0F);
  const F32x16 two = broadcast(2.0F);
  for_each_16(size, [&](int i, auto load_part, auto store_part) {
    const F32x16 part = load_part(x + i);
    const F32x16 above = one_minus_exp(mul(two, max(zero, part)));
    const F32x16 below = one_minus_exp(mul(two, max(zero, sub(zero, part))));
    store_part(x + i, sub(div(above, sub(two, above)), div(below, sub(two, below))));
  });
}

inline void multiply_silu(float* x, const float* gate, int size) {
  for_each_16(size, [&](int i, auto load_part, auto store_part) {
    const F32x16 g = load_part(gate + i);
    store_part(x + i, mul(load_part(x + i), mul(g, sigmoid(g))));
  });
}

inline void add_to(float* x, const float* y, int size) {
  for_each_16(size, [&](int i, auto load_part, auto store_part) {
    store_part(x + i, add(load_part(x + i), load_part(y + i)));
  });
}

inline void multiply_by(float* x, const float* y, int size) {
  for_each_16(size, [&](int i, auto load_part, auto store_part) {
    store_part(x + i, mul(load_part(x + i), load_part(y + i)));
  });
}

inline void add_gated(float* x, const float* gate, const float* y, int size) {
  for_each_16(size, [&](int i, auto load_part, auto store_part) {
    store_part(x + i, fma(sigmoid(load_part(gate + i)), load_part(y + i), load_part(x + i)));
  });
}

inline void move_towards(float* x, const float* gate, const float* y, int size) {
  for_each_16(size, [&](int i, auto load_part, auto store_part) {
    const F32x16 from = load_part(x + i);
    store_part(x + i, fma(sigmoid(load_part(gate + i)), sub(load_part(y + i), from), from));
  });
}

// The maximum is exact in any order. The sum is kept in double per block of 4,096 so that 65,536 terms lose
// nothing that float has.
inline float log_sum_exp(const float* x, int size) {
  float highest = x[0];
  for (int i = 1; i < size; ++i) highest = x[i] > highest ? x[i] : highest;
  double total = 0;
  for (int begin = 0; begin < size; begin += 4096) {
    const int end = size - begin < 4096 ? size : begin + 4096;
    F32x16 sum = broadcast(0.0F);
    int i = begin;
    for (; i + 16 <= end; i += 16) sum = add(sum, exp(sub(load(x + i), broadcast(highest))));
    for (; i < end; ++i) {
      float term[16];
      store(term, exp(broadcast(x[i] - highest)));
      total += static_cast<double>(term[0]);
    }
    total += static_cast<double>(reduce_add(sum));
  }
  return static_cast<float>(static_cast<double>(highest) + compiler::log(total));
}

}  // namespace wkv::WKV_ISA_NAMESPACE
