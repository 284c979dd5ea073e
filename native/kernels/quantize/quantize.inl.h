// Each group is looked at twice: for its largest magnitude, and to round it.

namespace wkv::WKV_ISA_NAMESPACE {

inline F32x16 round_to_integer(F32x16 a) {
  return sub(add(a, broadcast(compiler::kRounder)), broadcast(compiler::kRounder));
}

inline void quantize_activations(const QuantizeActivationsArguments& a) {
  const int tile = a.token / a.out.tile_tokens * a.out.tile_tokens;
  const int left = a.tokens - tile;
  const std::ptrdiff_t width = left < a.out.tile_tokens ? left : a.out.tile_tokens;
  const std::ptrdiff_t padded = (std::ptrdiff_t{a.columns} + kGroupStep - 1) / kGroupStep * kGroupStep;
  std::int8_t* codes = a.out.codes + tile * padded + (a.token - tile) * kGroupStep;
  const auto scaled = [&](int column, auto load_part) {
    const F32x16 x = load_part(a.x + column);
    return a.input_scales == nullptr ? x : mul(x, load_part(a.input_scales + column));
  };

  const int offset_columns = a.weights == WeightBits::k4 ? kGroupStep : a.group;
  const std::int32_t bias = a.weights == WeightBits::k4 ? 8 : 128;
  std::int32_t* offset = a.out.offsets + a.token;
  std::ptrdiff_t place = a.token;
  for (int begin = 0; begin < a.columns; begin += a.group, place += a.out.stride) {
    const int size = a.columns - begin < a.group ? a.columns - begin : a.group;
    F32x16 magnitudes = broadcast(0.0F);
    for_each_16(size, [&](int i, auto load_part, auto) {
      magnitudes = max_magnitude(magnitudes, scaled(begin + i, load_part));
    });
    const float largest = reduce_magnitude(magnitudes);
    const bool finite = largest < compiler::kInfinity;
    const float inverse = finite && largest >= kMinMagnitude ? 127.0F / largest : 0.0F;
    F32x16 sum = broadcast(0.0F);
    int summed = 0;
    for_each_16(size, [&](int i, auto load_part, auto) {
      const F32x16 code =
          finite ? round_to_integer(mul(scaled(begin + i, load_part), broadcast(inverse))) : broadcast(0.0F);
      sum = add(sum, code);
      store_int8(codes, code);
      codes += width * kGroupStep;
      summed += kGroupStep;
      if (summed != offset_columns && i + kGroupStep < size) return;
      // Whole numbers below 2^24: exact in any order.
      *offset = -bias * static_cast<std::int32_t>(reduce_add(sum));
      offset += a.out.stride;
      sum = broadcast(0.0F);
      summed = 0;
    });
    const float scale = inverse == 0.0F ? 0.0F : largest / 127.0F;
    a.out.scales[place] = finite ? scale : largest - largest;  // NaN
  }
}

inline float quantize_weights(const float* weights, int size, unsigned char* codes) {
  F32x16 magnitudes = broadcast(0.0F);
  for_each_16(size, [&](int i, auto load_part, auto) {
    magnitudes = max_magnitude(magnitudes, load_part(weights + i));
  });
  const float largest = reduce_magnitude(magnitudes);
  if (!(largest >= kMinMagnitude)) {
    for (int i = 0; i < size; ++i) codes[i] = 128;
    return 0;
  }

  const auto code_of = [](F32x16 weight, float inverse) {
    const F32x16 code = round_to_integer(mul(weight, broadcast(inverse)));
    return min(max(code, broadcast(-127.0F)), broadcast(127.0F));
  };
  float best_scale = 0;
  float best_inverse = 0;
  float best_error = 0;
  for (int level = kMaxCode; level > 120; --level) {
    const float scale = largest / static_cast<float>(level);
    const float inverse = static_cast<float>(level) / largest;
    F32x16 errors = broadcast(0.0F);
    for_each_16(size, [&](int i, auto load_part, auto) {
      // In units of the scale, so that no square is too small; a partial load is zero and has no error.
      const F32x16 weight = load_part(weights + i);
      const F32x16 error = sub(mul(weight, broadcast(inverse)), code_of(weight, inverse));
      errors = fma(error, error, errors);
    });
    const float ratio = static_cast<float>(kMaxCode) / static_cast<float>(level);
    const float error = reduce_add(errors) * (ratio * ratio);
    if (level == kMaxCode || error < best_error) {
      best_error = error;
      best_scale = scale;
      best_inverse = inverse;
    }
  }
  int i = 0;
  for (; i + 16 <= size; i += 16) {
    store_uint8(codes + i, add(code_of(load(weights + i), best_inverse), broadcast(128.0F)));
  }
  if (i < size) {
    unsigned char last[16];
    store_uint8(last, add(code_of(load_first(weights + i, size - i), best_inverse), broadcast(128.0F)));
    for (int lane = 0; i + lane < size; ++lane) codes[i + lane] = last[lane];
  }
  return best_scale;
}

}  // namespace wkv::WKV_ISA_NAMESPACE
