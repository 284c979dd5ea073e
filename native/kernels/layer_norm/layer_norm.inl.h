// Three passes over x: two sums in the order that layer_norm.h says, and the output.

namespace wkv::WKV_ISA_NAMESPACE {

// The sum of 32 neighbouring lanes of a norm. combine(sum, part) adds sixteen neighbours to their lanes;
// combine(sum, part, count) does so for the first `count` of sixteen, where the others of `part` are 0.
template <class Combine>
inline float sum_32_lanes(const float* x, int lane, int size, Combine combine) {
  F32x16 first = broadcast(0.0F);
  F32x16 second = broadcast(0.0F);
  int i = lane;
  for (; i + 32 <= size; i += kNormLanes) {
    first = combine(first, load(x + i));
    second = combine(second, load(x + i + 16));
  }
  const int left = size - i;
  if (left >= 16) {
    first = combine(first, load(x + i));
    if (left > 16) second = combine(second, load_first(x + i + 16, left - 16), left - 16);
  } else if (left > 0) {
    first = combine(first, load_first(x + i, left), left);
  }
  return reduce_add(add(first, second));
}

template <class Combine>
inline float sum_of_norm(const float* x, int size, Combine combine) {
  // A tree of two sums and zeros: no sum is -0, so adding 0 changes nothing.
  if (size <= 64) return sum_32_lanes(x, 0, size, combine) + sum_32_lanes(x, 32, size, combine);
  float sums[kNormLanes / 32] = {};
  for (int lane = 0; lane < size && lane < kNormLanes; lane += 32) {
    sums[lane / 32] = sum_32_lanes(x, lane, size, combine);
  }
  return reduce_add(add(load(sums), load(sums + 16)));
}

struct AddToSum {
  F32x16 operator()(F32x16 sum, F32x16 part) const { return add(sum, part); }
  F32x16 operator()(F32x16 sum, F32x16 part, int) const { return add(sum, part); }
};

struct AddSquareOfDistance {
  float mean;

  F32x16 operator()(F32x16 sum, F32x16 part) const {
    const F32x16 distance = sub(part, broadcast(mean));
    return fma(distance, distance, sum);
  }
  // Where there is no number, its distance is to be 0, too.
  F32x16 operator()(F32x16 sum, F32x16 part, int count) const {
    float means[16];
    store(means, broadcast(mean));
    const F32x16 distance = sub(part, load_first(means, count));
    return fma(distance, distance, sum);
  }
};

inline void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, int size,
                       float* output) {
  const float count = static_cast<float>(size);
  const float mean = sum_of_norm(x, size, AddToSum{}) / count;
  const float variance = sum_of_norm(x, size, AddSquareOfDistance{mean}) / count;
  const float scale = 1.0F / compiler::sqrt(variance + epsilon);

  for_each_16(size, [&](int at, auto load_part, auto store_part) {
    const F32x16 normal = mul(sub(load_part(x + at), broadcast(mean)), broadcast(scale));
    store_part(output + at, fma(normal, load_part(weight + at), load_part(bias + at)));
  });
}

}  // namespace wkv::WKV_ISA_NAMESPACE
