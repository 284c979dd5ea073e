// A register tile is sixteen rows of a panel times some tokens. The products of 16 columns are summed by
// themselves, multiplied, and added to the sums of the group (kernels/simd/int4x16.h); at the group's end
// those are scaled and added to floats in scratch, as in gemm_int8. Weights that come next are asked for
// early.

namespace wkv::WKV_ISA_NAMESPACE {

constexpr int kInt4RunColumns = 512;
constexpr int kInt4PrefetchColumns = 256;

// kHalves times sixteen rows, kTokens tokens: where their numbers begin, and their sums.
template <int kHalves, int kTokens>
struct Int4Tile {
  const unsigned char* codes;    // of column 0
  const unsigned char* indices;  // of multipliers
  const std::int8_t* x;
  const std::int32_t* x_offsets;
  std::ptrdiff_t x_stride;
  I32x16 sums[static_cast<std::size_t>(kHalves)][static_cast<std::size_t>(kTokens)];

  WKV_INLINE void begin() {
    WKV_UNROLLED
    for (int half = 0; half < kHalves; ++half) {
      WKV_UNROLLED
      for (int t = 0; t < kTokens; ++t) sums[half][t] = broadcast_int32(0);
    }
  }

  // Adds sixteen columns, `column` in all before them, kBlock of these since the last multiple of 32.
  template <int kBlock>
  WKV_INLINE void add(int column, const Indices16* block_indices) {
    const std::int32_t* offsets = x_offsets + column / kGroupStep * x_stride;
    const std::int8_t* block_x = x + std::ptrdiff_t{column} * kTokens;
    WKV_UNROLLED
    for (int half = 0; half < kHalves; ++half) {
      const unsigned char* block_codes = codes + std::ptrdiff_t{column} * 16 + half * 64;
      const Multipliers16 multipliers = multipliers_of<kBlock>(block_indices[half]);
      BlockSums block[static_cast<std::size_t>(kTokens)];
      WKV_UNROLLED
      for (int t = 0; t < kTokens; ++t) block[t] = begin_block(offsets[t]);
      const Weights16x8 first = load_nibbles(block_codes);
      WKV_UNROLLED
      for (int t = 0; t < kTokens; ++t) {
        block[t] = dot_nibbles<0>(block[t], first, block_x + t * kGroupStep);
      }
      const Weights16x8 second = load_nibbles(block_codes + kInt8PanelRows * 4);
      WKV_UNROLLED
      for (int t = 0; t < kTokens; ++t) {
        block[t] = dot_nibbles<1>(block[t], second, block_x + t * kGroupStep);
      }
      WKV_UNROLLED
      for (int t = 0; t < kTokens; ++t) {
        sums[half][t] = add_multiplied(sums[half][t], block[t], multipliers);
      }
    }
  }

  // The columns [begin, end), at most 32, all of them after the same multiple of 32.
  WKV_INLINE void add_columns(int begin, int end) {
    Indices16 of_halves[static_cast<std::size_t>(kHalves)];
    WKV_UNROLLED
    for (int half = 0; half < kHalves; ++half) {
      of_halves[half] = load_indices(indices + begin / 32 * kInt8PanelRows + half * 16);
    }
    if (begin % 32 == 0) add<0>(begin, of_halves);
    if (end % 32 == 0) add<1>(end - kGroupStep, of_halves);
  }
};

// kTokens tokens from `token` on, in the groups [first_group, end_group); kHalves of the panel at once.
template <int kHalves, int kTokens>
inline void run_int4_tile(const GemmInt8Arguments& a, int token, int first_group, int end_group) {
  const Ahead ahead(a, token, std::ptrdiff_t{end_group - first_group} * a.group * 16);
  const unsigned char* scales = a.weights + int4_scales_offset(a.padded_columns);
  const auto panel_bytes = static_cast<std::ptrdiff_t>(int4_panel_bytes(a.padded_columns, a.group));
  for (int part = 0; part < 2; part += kHalves) {
    Int4Tile<kHalves, kTokens> tile;
    tile.codes = a.weights + part * 64;
    tile.indices = a.weights + int4_multipliers_offset(a.padded_columns) + part * 16;
    tile.x = a.x.codes + std::ptrdiff_t{token} * a.padded_columns;
    tile.x_offsets = a.x.offsets + token;
    tile.x_stride = a.x.stride;
    for (int group = first_group; group < end_group; ++group) {
      const int begin = group * a.group;
      const int end = begin + a.group < a.padded_columns ? begin + a.group : a.padded_columns;
      tile.begin();
      for (int column = begin; column < end;) {
        const unsigned char* codes = a.weights + std::ptrdiff_t{column} * 16;
        if (kTokens == 1) {
          // After a panel's last codes come the next one's first, and so it is with the multipliers.
          const std::ptrdiff_t later = std::ptrdiff_t{column} + kInt4PrefetchColumns;
          const std::ptrdiff_t panel = later < a.padded_columns ? 0 : panel_bytes;
          const std::ptrdiff_t column_there = later < a.padded_columns ? later : later - a.padded_columns;
          WKV_UNROLLED
          for (int line = 0; line < 8; ++line) {
            WKV_PREFETCH(a.weights + panel + column_there * 16 + line * 64);
          }
          WKV_PREFETCH(tile.indices + panel + column_there);
        } else {
          ahead.ask(codes);
        }
        const int next = column / 32 * 32 + 32;
        const int until = next < end ? next : end;
        tile.add_columns(column, until);
        column = until;
      }
      WKV_UNROLLED
      for (int half = 0; half < kHalves; ++half) {
        const F32x16 scale = load_scales(scales + group * kInt8PanelRows + (part + half) * 16);
        WKV_UNROLLED
        for (int t = 0; t < kTokens; ++t) {
          float* place = a.scratch + (token + t) * kInt8PanelRows + (part + half) * 16;
          const F32x16 before = group == 0 ? broadcast(0.0F) : load(place);
          const F32x16 x_scale = broadcast(a.x.scales[group * a.x.stride + token + t]);
          store(place, fma(mul(to_float(tile.sums[half][t]), scale), x_scale, before));
        }
      }
    }
  }
}

// `tokens` tokens, at most kTokens.
template <int kTokens>
inline void run_int4_tokens(const GemmInt8Arguments& a, int tokens, int token, int first_group,
                            int end_group) {
  if constexpr (kTokens > 0) {
    if (tokens == kTokens) {
      run_int4_tile<1, kTokens>(a, token, first_group, end_group);
    } else {
      run_int4_tokens<kTokens - 1>(a, tokens, token, first_group, end_group);
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
      for (int token = 0; token < a.tokens; token += a.x.tile_tokens) {
        const int left = a.tokens - token;
        const int tokens = left < a.x.tile_tokens ? left : a.x.tile_tokens;
        run_int4_tokens<kInt4TileTokens>(a, tokens, token, group, end);
      }
    }
  }
  for (int token = 0; token < a.tokens; ++token) {
    const float* sums = a.scratch + token * kInt8PanelRows;
    float* output = a.output + token * a.output_stride;
    for_each_16(a.rows, [&](int row, auto, auto store_part) { store_part(output + row, load(sums + row)); });
  }
}

}  // namespace wkv::WKV_ISA_NAMESPACE
