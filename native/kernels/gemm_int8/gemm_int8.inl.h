// A register tile is one or two times sixteen rows, times some tokens: sixteen rows have one sum each in an
// I32x16 (kernels/simd/i32x16.h). A group's sums stay in registers; at its end they are scaled and added to
// floats in scratch. Rows of a prompt are cut into runs of whole groups, so that a run of the panel and of a
// tile's activations fits the first-level cache.

namespace wkv::WKV_ISA_NAMESPACE {

constexpr int kInt8RunColumns = 512;
constexpr int kInt8PrefetchBytes = 1024;

// A run of a panel is read by one tile of tokens after another. Each asks for its share of the run after it,
// so that the next run comes from memory while this one is computed.
struct Ahead {
  std::ptrdiff_t bytes;
  int first, step;  // lines of each eight

  Ahead(const GemmInt8Arguments& a, int token, std::ptrdiff_t run_bytes)
      : bytes(run_bytes),
        first(token / a.x.tile_tokens),
        step((a.tokens + a.x.tile_tokens - 1) / a.x.tile_tokens) {}

  // Of the 512 bytes that are read now.
  void ask(const unsigned char* now) const {
    for (int line = first; line < 8; line += step) WKV_PREFETCH(now + bytes + line * 64);
  }
};

// One group of kVectors * 16 rows and kTokens tokens; `x` is where the tile's codes of the group begin.
template <int kVectors, int kTokens>
inline void add_group(const unsigned char* weights, const std::int8_t* x, const float* x_scales,
                      const std::int32_t* x_offsets, int columns, bool first, float* partial,
                      const Ahead& ahead) {
  Int8Sums<kVectors, kTokens> sums;
  sums.begin(x_offsets);
  for (int column = 0; column < columns; column += kGroupStep) {
    if (kTokens == 1) {
      WKV_UNROLLED
      for (int line = 0; line < kVectors * 4; ++line) {
        WKV_PREFETCH(reinterpret_cast<const char*>(weights) + kInt8PrefetchBytes + line * 64);
      }
    } else {
      ahead.ask(weights);
    }
    sums.add(weights, x);
    weights += kGroupStep * kInt8PanelRows;
    x += kTokens * kGroupStep;
  }
  // The scales follow the codes.
  WKV_UNROLLED
  for (int v = 0; v < kVectors; ++v) {
    const F32x16 scales = load(reinterpret_cast<const float*>(weights) + v * 16);
    WKV_UNROLLED
    for (int t = 0; t < kTokens; ++t) {
      float* place = partial + t * kInt8PanelRows + v * 16;
      const F32x16 before = first ? broadcast(0.0F) : load(place);
      store(place, fma(mul(to_float(sums.of(v, t)), scales), broadcast(x_scales[t]), before));
    }
  }
}

// kTokens tokens from `token` on, in the groups [first_group, end_group).
template <int kVectors, int kTokens>
inline void run_int8_tile(const GemmInt8Arguments& a, int token, int first_group, int end_group) {
  const auto run_bytes = static_cast<std::ptrdiff_t>(int8_group_offset(end_group - first_group, a.group));
  const Ahead ahead(a, token, run_bytes);
  for (int part = 0; part < 2; part += kVectors) {
    if (part * 16 >= a.rows) break;
    for (int group = first_group; group < end_group; ++group) {
      const int begin = group * a.group;
      const int left = a.padded_columns - begin;
      const int columns = left < a.group ? left : a.group;
      add_group<kVectors, kTokens>(
          a.weights + int8_group_offset(group, a.group) + part * 64,
          a.x.codes + std::ptrdiff_t{token} * a.padded_columns + std::ptrdiff_t{begin} * kTokens,
          a.x.scales + group * a.x.stride + token, a.x.offsets + group * a.x.stride + token, columns,
          group == 0, a.scratch + token * kInt8PanelRows + part * 16, ahead);
    }
  }
}

// `tokens` tokens, at most kTokens.
template <int kTokens>
inline void run_int8_tokens(const GemmInt8Arguments& a, int tokens, int token, int first_group,
                            int end_group) {
  if constexpr (kTokens > 0) {
    if (tokens == kTokens) {
      run_int8_tile<kInt8TileVectors, kTokens>(a, token, first_group, end_group);
    } else {
      run_int8_tokens<kTokens - 1>(a, tokens, token, first_group, end_group);
    }
  }
}

inline void gemm_int8(const GemmInt8Arguments& a) {
  const int groups = (a.padded_columns + a.group - 1) / a.group;
  if (a.tokens == 1) {
    // Bound by memory: the panel is read once, front to back.
    run_int8_tile<2, 1>(a, 0, 0, groups);
  } else {
    // The outputs lie far apart and are written last; by then they are in the cache.
    for (int token = 0; token < a.tokens; ++token) {
      const float* output = a.output + token * a.output_stride;
      WKV_PREFETCH(output);
      WKV_PREFETCH(output + 16);
    }
    const int run = a.group < kInt8RunColumns ? kInt8RunColumns / a.group : 1;
    for (int group = 0; group < groups; group += run) {
      const int end = group + run < groups ? group + run : groups;
      for (int token = 0; token < a.tokens; token += a.x.tile_tokens) {
        const int left = a.tokens - token;
        const int tokens = left < a.x.tile_tokens ? left : a.x.tile_tokens;
        run_int8_tokens<kInt8TileTokens>(a, tokens, token, group, end);
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
