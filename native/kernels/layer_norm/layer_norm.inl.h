// Three passes over x: two sums in the order that layer_norm.h says, and the output.

namespace wkv::WKV_ISA_NAMESPACE {

// The first `count` of sixteen numbers, of which there may be none or more.
inline F32x16 load_up_to_16(const float* p, int count) {
  return count >= 16 ? load(p) : count > 0 ? load_first(p, count) : broadcast(0.0F);
}

// Sums over 1024 lanes. combine(sum, x, count) adds sixteen neighbours to their lanes, of which `count`, 16
// or more for all, are numbers and the others 0.
template <class Combine>
inline float sum_of_norm(const float* x, int size, Combine combine) {
  float sums[kNormLanes / 32] = {};  // of 32 lanes each
  for (int lane = 0; lane < size && lane < kNormLanes; lane += 32) {
    F32x16 first = broadcast(0.0F);
    F32x16 second = broadcast(0.0F);
    for (int i = lane; i < size; i += kNormLanes) {
      const int left = size - i;
      first = combine(first, load_up_to_16(x + i, left), left);
      if (left > 16) second = combine(second, load_up_to_16(x + i + 16, left - 16), left - 16);
    }
    sums[lane / 32] = reduce_add(add(first, second));
  }
  return reduce_add(add(load(sums), load(sums + 16)));
}

inline void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, int size,
                       float* output) {
  const float count = static_cast<float>(size);
  const float mean =
      sum_of_norm(x, size, [](F32x16 sum, F32x16 part, int) { return add(sum, part); }) / count;
  const float squares = sum_of_norm(x, size, [mean](F32x16 sum, F32x16 part, int left) {
    F32x16 means = broadcast(mean);
    if (left < 16) {
      // Where there is no number, x - mean is to be 0, too.
      float lanes[16];
      store(lanes, means);
      means = load_first(lanes, left);
    }
    const F32x16 distance = sub(part, means);
    return fma(distance, distance, sum);
  });
  const float scale = 1.0F / compiler::sqrt(squares / count + epsilon);

  for_each_16(size, [&](int at, auto load_part, auto store_part) {
    const F32x16 normal = mul(sub(load_part(x + at), broadcast(mean)), broadcast(scale));
    store_part(output + at, fma(normal, load_part(weight + at), load_part(bias + at)));
  });
}

}  // namespace wkv::WKV_ISA_NAMESPACE
