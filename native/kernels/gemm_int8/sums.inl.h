// The sums of kVectors * 16 rows and kTokens tokens over the columns of a group, in registers.

namespace wkv::WKV_ISA_NAMESPACE {

template <int kVectors, int kTokens>
struct Int8Sums {
  I32x16 at[static_cast<std::size_t>(kVectors)][static_cast<std::size_t>(kTokens)];

  WKV_INLINE void begin(const std::int32_t* x_offsets) {
    WKV_UNROLLED
    for (int v = 0; v < kVectors; ++v) {
      WKV_UNROLLED
      for (int t = 0; t < kTokens; ++t) at[v][t] = broadcast_int32(kWeightsBiased ? x_offsets[t] : 0);
    }
  }

  // Adds sixteen columns.
  WKV_INLINE void add(const unsigned char* weights, const std::int8_t* x) {
    Quads quads[static_cast<std::size_t>(kTokens)];
    WKV_UNROLLED
    for (int t = 0; t < kTokens; ++t) quads[t] = load_quads(x + t * kGroupStep);
    add_quads<0>(weights, quads);
  }

  WKV_INLINE I32x16 of(int vector, int token) const { return at[vector][token]; }

 private:
  template <int kQuad>
  WKV_INLINE void add_quads(const unsigned char* weights, const Quads* x) {
    WKV_UNROLLED
    for (int v = 0; v < kVectors; ++v) {
      const Weights16x4 quad = load_weights(weights + kQuad * kInt8PanelRows * 4 + v * 64);
      WKV_UNROLLED
      for (int t = 0; t < kTokens; ++t) at[v][t] = dot<kQuad>(at[v][t], quad, x[t]);
    }
    if constexpr (kQuad < 3) add_quads<kQuad + 1>(weights, x);
  }
};

}  // namespace wkv::WKV_ISA_NAMESPACE
