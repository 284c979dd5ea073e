// A search over scales, and for each over multipliers of every block; see quantize.h for which are tried.

namespace wkv::WKV_ISA_NAMESPACE {

// A block's extremes, and what is known of its best multiplier.
struct Int4Block {
  float largest;  // magnitude
  bool positive;  // the sign of that weight
};

inline F32x16 int4_code(F32x16 weights, float inverse) {
  const F32x16 code = round_to_integer(mul(weights, broadcast(inverse)));
  return min(max(code, broadcast(-8.0F)), broadcast(7.0F));
}

// The weighted squares of what rounding a block in steps of `step` takes away.
inline float int4_error(F32x16 weights, F32x16 importance, float step) {
  const F32x16 code = int4_code(weights, 1.0F / step);
  const F32x16 error = fma(code, broadcast(-step), weights);
  return reduce_add(mul(importance, mul(error, error)));
}

// The code of the scale at or below `scale`.
inline int int4_scale_code(float scale) {
  const std::int32_t code = (compiler::bits_of(scale) - kInt4LeastScaleBits) >> kInt4ScaleShift;
  return code < 0 ? 0 : code > 255 ? 255 : code;
}

inline unsigned char quantize_int4(const QuantizeInt4Arguments& a) {
  constexpr int kMaxBlocks = kMaxInt4Group / kGroupStep;
  Int4Block blocks[kMaxBlocks];
  float largest = 0;
  for (int begin = 0; begin < a.size; begin += kGroupStep) {
    Int4Block& block = blocks[begin / kGroupStep];
    block = {0, false};
    for (int i = begin; i < a.size && i < begin + kGroupStep; ++i) {
      const float magnitude = a.weights[i] < 0 ? -a.weights[i] : a.weights[i];
      if (magnitude > block.largest) block = {magnitude, a.weights[i] > 0};
    }
    if (block.largest > largest) largest = block.largest;
  }

  const float reaching = largest / (8.0F * 127.0F);
  const int smallest = int4_scale_code(reaching * 0.78F);
  int best_scale = 0;
  float least = compiler::kInfinity;
  for (int code = int4_scale_code(reaching * 1.14F); code >= smallest; code -= 2) {
    const float scale = int4_scale(code);
    unsigned char indices[kMaxBlocks];
    float total = 0;
    for_each_16(a.size, [&](int i, auto load_part, auto) {
      const Int4Block& block = blocks[i / kGroupStep];
      const F32x16 weights = load_part(a.weights + i);
      const F32x16 importance = load_part(a.importance + i);
      const float enough = block.largest * 0.75F / (8.0F * scale);
      int index = 0;
      while (index < 7 && static_cast<float>(kInt4Multipliers[index]) < enough) ++index;
      float of_block = compiler::kInfinity;
      for (int tried = 0; tried < 4 && index < 8; ++tried, ++index) {
        const int candidate = index + (block.positive ? 8 : 0);
        const float step = static_cast<float>(kInt4Multipliers[candidate]) * scale;
        const float error = int4_error(weights, importance, step);
        if (error < of_block) {
          of_block = error;
          indices[i / kGroupStep] = static_cast<unsigned char>(candidate);
        }
      }
      total += of_block;
    });
    if (total < least) {
      least = total;
      best_scale = code;
      for (int block = 0; block * kGroupStep < a.size; ++block) a.indices[block] = indices[block];
    }
  }

  for_each_16(a.size, [&](int i, auto load_part, auto) {
    const unsigned char index = a.indices[i / kGroupStep];
    const float step = static_cast<float>(kInt4Multipliers[index]) * int4_scale(best_scale);
    unsigned char codes[kGroupStep];
    store_uint8(codes, add(int4_code(load_part(a.weights + i), 1.0F / step), broadcast(8.0F)));
    for (int lane = 0; lane < kGroupStep && i + lane < a.size; ++lane) a.codes[i + lane] = codes[lane];
  });
  return static_cast<unsigned char>(best_scale);
}

}  // namespace wkv::WKV_ISA_NAMESPACE
