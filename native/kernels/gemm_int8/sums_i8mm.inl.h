// The sums of several tokens with the matrix products of ARMv8.6: an instruction multiplies eight columns of
// two rows with those of two tokens. A last token without a partner is its own.

namespace wkv::WKV_ISA_NAMESPACE {

template <int kTokens>
requires(kTokens > 1) struct Int8Sums<1, kTokens> {
  static constexpr int kPairs = (kTokens + 1) / 2;
  // Of two rows and two tokens: [row][token].
  int32x4_t at[8][static_cast<std::size_t>(kPairs)];

  WKV_INLINE void begin(const std::int32_t* x_offsets) {
    WKV_UNROLLED
    for (int pair = 0; pair < kPairs; ++pair) {
      const std::int32_t two[2] = {x_offsets[first(pair)], x_offsets[second(pair)]};
      const int32x2_t offsets = vld1_s32(two);
      for (auto& rows : at) rows[pair] = vcombine_s32(offsets, offsets);
    }
  }

  // Adds sixteen columns.
  WKV_INLINE void add(const unsigned char* weights, const std::int8_t* x) {
    int8x16_t left[static_cast<std::size_t>(kPairs)];
    int8x16_t right[static_cast<std::size_t>(kPairs)];
    WKV_UNROLLED
    for (int pair = 0; pair < kPairs; ++pair) {
      const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(x + first(pair) * kGroupStep));
      const int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(x + second(pair) * kGroupStep));
      left[pair] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
      right[pair] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
    }
    add_eight(weights, left);
    add_eight(weights + 2 * kInt8PanelRows * 4, right);
  }

  WKV_INLINE I32x16 of(int /*vector*/, int token) const {
    I32x16 sums;
    WKV_UNROLLED
    for (int i = 0; i < 4; ++i) {
      const int32x4_t low = at[2 * i][token / 2];
      const int32x4_t high = at[2 * i + 1][token / 2];
      sums.q[i] = token % 2 == 0 ? vuzp1q_s32(low, high) : vuzp2q_s32(low, high);
    }
    return sums;
  }

 private:
  static constexpr int first(int pair) { return 2 * pair; }
  static constexpr int second(int pair) { return 2 * pair + 1 < kTokens ? 2 * pair + 1 : 2 * pair; }

  WKV_INLINE void add_eight(const unsigned char* weights, const int8x16_t* tokens) {
    WKV_UNROLLED
    for (int i = 0; i < 4; ++i) {
      // A quad of four rows and the next one: zipped, a row has its eight columns side by side.
      const uint32x4_t left = vreinterpretq_u32_u8(vld1q_u8(weights + 16 * i));
      const uint32x4_t right = vreinterpretq_u32_u8(vld1q_u8(weights + kInt8PanelRows * 4 + 16 * i));
      const uint8x16_t low = vreinterpretq_u8_u32(vzip1q_u32(left, right));
      const uint8x16_t high = vreinterpretq_u8_u32(vzip2q_u32(left, right));
      WKV_UNROLLED
      for (int pair = 0; pair < kPairs; ++pair) {
        at[2 * i][pair] = vusmmlaq_s32(at[2 * i][pair], low, tokens[pair]);
        at[2 * i + 1][pair] = vusmmlaq_s32(at[2 * i + 1][pair], high, tokens[pair]);
      }
    }
  }
};

}  // namespace wkv::WKV_ISA_NAMESPACE
