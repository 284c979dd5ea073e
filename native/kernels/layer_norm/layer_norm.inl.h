// Two passes, each summed in sixteen lanes: mean, then squared distances from it.

namespace wkv::WKV_ISA_NAMESPACE {

inline void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, int size,
                       float* output) {
  F32x16 sum = broadcast(0.0F);
  for_each_16(size, [&](int i, auto load_part, auto) { sum = add(sum, load_part(x + i)); });
  const float count = static_cast<float>(size);
  const float mean = reduce_add(sum) / count;

  // Lanes beyond the end are kept at zero: a partial load of x is zero there, and so must x - mean be.
  F32x16 squares = broadcast(0.0F);
  int i = 0;
  for (; i + 16 <= size; i += 16) {
    const F32x16 d = sub(load(x + i), broadcast(mean));
    squares = fma(d, d, squares);
  }
  if (i < size) {
    float means[16] = {};
    for (int lane = 0; lane < size - i; ++lane) means[lane] = mean;
    const F32x16 d = sub(load_first(x + i, size - i), load(means));
    squares = fma(d, d, squares);
  }
  const float variance = reduce_add(squares) / count;
  const float scale = 1.0F / compiler::sqrt(variance + epsilon);

  for_each_16(size, [&](int at, auto load_part, auto store_part) {
    const F32x16 normal = mul(sub(load_part(x + at), broadcast(mean)), broadcast(scale));
    store_part(output + at, fma(normal, load_part(weight + at), load_part(bias + at)));
  });
}

}  // namespace wkv::WKV_ISA_NAMESPACE
