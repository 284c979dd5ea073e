// The sums of 32 rows with AVX-512 VNNI. A dot product takes its token's quad from memory, which costs no
// instruction of its own; but with one load for each of the two dot products that a cycle can begin, and the
// loads of the weights, loads would be the limit. So each fourth token's quad is loaded once for both.

namespace wkv::WKV_ISA_NAMESPACE {

template <int kTokens>
requires(kTokens > 1) struct Int8Sums<2, kTokens> {
  I32x16 at[2][static_cast<std::size_t>(kTokens)];

  WKV_INLINE void begin(const std::int32_t* x_offsets) {
    WKV_UNROLLED
    for (int t = 0; t < kTokens; ++t) at[0][t] = at[1][t] = broadcast_int32(x_offsets[t]);
  }

  // Adds sixteen columns.
  WKV_INLINE void add(const unsigned char* weights, const std::int8_t* x) { add_quads<0>(weights, x); }

  WKV_INLINE I32x16 of(int vector, int token) const { return at[vector][token]; }

 private:
  template <int kQuad>
  WKV_INLINE void add_quads(const unsigned char* weights, const std::int8_t* x) {
    const Weights16x4 first = load_weights(weights + kQuad * kInt8PanelRows * 4);
    const Weights16x4 second = load_weights(weights + kQuad * kInt8PanelRows * 4 + 64);
    WKV_UNROLLED
    for (int t = 0; t < kTokens; ++t) {
      const std::int8_t* quad = x + t * kGroupStep + kQuad * 4;
      if (t % 4 == 0) {
        const __m512i loaded = compiler::load_quad(quad);
        at[0][t] = {_mm512_dpbusd_epi32(at[0][t].v, first, loaded)};
        at[1][t] = {_mm512_dpbusd_epi32(at[1][t].v, second, loaded)};
      } else {
        at[0][t] = {compiler::dot_with_quad(at[0][t].v, first, quad)};
        at[1][t] = {compiler::dot_with_quad(at[1][t].v, second, quad)};
      }
    }
    if constexpr (kQuad < 3) add_quads<kQuad + 1>(weights, x);
  }
};

}  // namespace wkv::WKV_ISA_NAMESPACE
