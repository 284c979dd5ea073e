// A register tile is sixteen rows of a panel times some tokens. The products of 16 columns are summed by
// themselves, multiplied, and added to the sums of the group (kernels/simd/int4x16.h); at the group's end
// those are scaled and added to floats in scratch, as in gemm_int8.

namespace wkv::WKV_ISA_NAMESPACE {

constexpr int kInt4RunColumns = 2048;
constexpr int kInt4PrefetchBytes = 1024;

template <int kTokens>
struct Int4Sums {
  I32x16 at[static_cast<std::size_t>(kTokens)];
};

// Adds sixteen columns of sixteen rows; `x` are the tile's codes of these columns.
template <int kTokens>
inline void add_block(const unsigned char* codes, Multipliers16 multipliers, const std::int8_t* x,
                      const std::int32_t* x_offsets, Int4Sums<kTokens>& sums) {
  BlockSums block[static_cast<std::size_t>(kTokens)];
  for (int t = 0; t < kTokens; ++t) block[t] = begin_block(x_offsets[t]);
  const Weights16x8 first = load_nibbles(codes);
  for (int t = 0; t < kTokens; ++t) block[t] = dot_nibbles<0>(block[t], first, x + t * kGroupStep);
  const Weights16x8 second = load_nibbles(codes + kInt8PanelRows * 4);
  for (int t = 0; t < kTokens; ++t) block[t] = dot_nibbles<1>(block[t], second, x + t * kGroupStep);
  for (int t = 0; t < kTokens; ++t) sums.at[t] = add_multiplied(sums.at[t], block[t], multipliers);
}

// kTokens tokens from `token` on, in the groups [first_group, end_group); kHalves of the panel at once.
template <int kHalves, int kTokens>
inline void run_int4_tile(const GemmInt8Arguments& a, int token, int first_group, int end_group) {
  const unsigned char* all_multipliers = a.weights + int4_multipliers_offset(a.padded_columns);
  const unsigned char* scales = a.weights + int4_scales_offset(a.padded_columns);
  for (int part = 0; part < 2; part += kHalves) {
    for (int group = first_group; group < end_group; ++group) {
      const int begin = group * a.group;
      const int end = begin + a.group < a.padded_columns ? begin + a.group : a.padded_columns;
      Int4Sums<kTokens> sums[static_cast<std::size_t>(kHalves)];
      for (int half = 0; half < kHalves; ++half) {
        for (int t = 0; t < kTokens; ++t) sums[half].at[t] = broadcast_int32(0);
      }
      for (int column = begin; column < end; column += kGroupStep) {
        const unsigned char* codes = a.weights + std::ptrdiff_t{column} * 16;
        if (kTokens == 1) {
          for (int line = 0; line < kHalves * 2; ++line) {
            WKV_PREFETCH(reinterpret_cast<const char*>(codes) + kInt4PrefetchBytes + line * 64);
          }
        }
        const std::int8_t* x =
            a.x.codes + std::ptrdiff_t{token} * a.padded_columns + std::ptrdiff_t{column} * kTokens;
        const std::int32_t* x_offsets = a.x.offsets + column / kGroupStep * a.x.stride + token;
        for (int half = 0; half < kHalves; ++half) {
          const Multipliers16 multipliers =
              load_multipliers(all_multipliers + column / 32 * 32 + (part + half) * 16, column / 16 % 2);
          add_block<kTokens>(codes + (part + half) * 64, multipliers, x, x_offsets, sums[half]);
        }
      }
      for (int half = 0; half < kHalves; ++half) {
        const F32x16 scale = load_scales(scales + group * kInt8PanelRows + (part + half) * 16);
        for (int t = 0; t < kTokens; ++t) {
          float* place = a.scratch + (token + t) * kInt8PanelRows + (part + half) * 16;
          const F32x16 before = group == 0 ? broadcast(0.0F) : load(place);
          const F32x16 x_scale = broadcast(a.x.scales[group * a.x.stride + token + t]);
          store(place, fma(mul(to_float(sums[half].at[t]), scale), x_scale, before));
        }
      }
    }
  }
}

template <int kTokens>
inline void run_int4_rest(const GemmInt8Arguments& a, int tokens, int token, int first_group, int end_group) {
  if constexpr (kTokens > 0) {
    if (tokens == kTokens) {
      run_int4_tile<1, kTokens>(a, token, first_group, end_group);
    } else {
      run_int4_rest<kTokens - 1>(a, tokens, token, first_group, end_group);
    }
  }
}

inline void gemm_int4(const GemmInt8Arguments& a) {
  const int groups = (a.padded_columns + a.group - 1) / a.group;
  if (a.tokens == 1) {
    // Bound by memory: the panel is read once, front to back.
    run_int4_tile<2, 1>(a, 0, 0, groups);
  } else {
    const int run = a.group < kInt4RunColumns ? kInt4RunColumns / a.group : 1;
    for (int group = 0; group < groups; group += run) {
      const int end = group + run < groups ? group + run : groups;
      int token = 0;
      for (; token + kInt4TileTokens <= a.tokens; token += kInt4TileTokens) {
        run_int4_tile<1, kInt4TileTokens>(a, token, group, end);
      }
      run_int4_rest<kInt4TileTokens - 1>(a, a.tokens - token, token, group, end);
    }
  }
  for (int token = 0; token < a.tokens; ++token) {
    const float* sums = a.scratch + token * kInt8PanelRows;
    float* output = a.output + token * a.output_stride;
    for_each_16(a.rows, [&](int row, auto, auto store_part) { store_part(output + row, load(sums + row)); });
  }
}

}  // namespace wkv::WKV_ISA_NAMESPACE
