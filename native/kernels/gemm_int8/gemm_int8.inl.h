// A register tile is one or two times sixteen rows, times some tokens: sixteen rows have one sum each in an
// I32x16 (kernels/simd/i32x16.h). A group's sums stay in registers; at its end they are scaled and added to
// floats in scratch. Rows of a prompt are cut into runs of whole groups, so that a run of the panel and of a
// tile's activations fits the first-level cache.

namespace wkv::WKV_ISA_NAMESPACE {

constexpr int kInt8RunColumns = 1024;
constexpr int kInt8PrefetchBytes = 1024;

// One group of kVectors * 16 rows and kTokens tokens; `x` is where the tile's codes of the group begin.
template <int kVectors, int kTokens>
inline void add_group(const unsigned char* weights, const std::int8_t* x, const float* x_scales,
                      const std::int32_t* x_offsets, int columns, bool first, float* partial) {
  Int8Sums<kVectors, kTokens> sums;
  sums.begin(x_offsets);
  for (int column = 0; column < columns; column += kGroupStep) {
    if (kTokens == 1) {
      for (int line = 0; line < kVectors * 4; ++line) {
        WKV_PREFETCH(reinterpret_cast<const char*>(weights) + kInt8PrefetchBytes + line * 64);
      }
    }
    sums.add(weights, x);
    weights += kGroupStep * kInt8PanelRows;
    x += kTokens * kGroupStep;
  }
  // The scales follow the codes.
  for (int v = 0; v < kVectors; ++v) {
    const F32x16 scales = load(reinterpret_cast<const float*>(weights) + v * 16);
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
          group == 0, a.scratch + token * kInt8PanelRows + part * 16);
    }
  }
}

template <int kTokens>
inline void run_int8_rest(const GemmInt8Arguments& a, int tokens, int token, int first_group, int end_group) {
  if constexpr (kTokens > 0) {
    if (tokens == kTokens) {
      run_int8_tile<kInt8TileVectors, kTokens>(a, token, first_group, end_group);
    } else {
      run_int8_rest<kTokens - 1>(a, tokens, token, first_group, end_group);
    }
  }
}

inline void gemm_int8(const GemmInt8Arguments& a) {
  const int groups = (a.padded_columns + a.group - 1) / a.group;
  if (a.tokens == 1) {
    // Bound by memory: the panel is read once, front to back.
    run_int8_tile<2, 1>(a, 0, 0, groups);
  } else {
    const int run = a.group < kInt8RunColumns ? kInt8RunColumns / a.group : 1;
    for (int group = 0; group < groups; group += run) {
      const int end = group + run < groups ? group + run : groups;
      int token = 0;
      for (; token + kInt8TileTokens <= a.tokens; token += kInt8TileTokens) {
        run_int8_tile<kInt8TileVectors, kInt8TileTokens>(a, token, group, end);
      }
      run_int8_rest<kInt8TileTokens - 1>(a, a.tokens - token, token, group, end);
    }
  }
  for (int token = 0; token < a.tokens; ++token) {
    const float* sums = a.scratch + token * kInt8PanelRows;
    float* output = a.output + token * a.output_stride;
    for_each_16(a.rows, [&](int row, auto, auto store_part) { store_part(output + row, load(sums + row)); });
  }
}

}  // namespace wkv::WKV_ISA_NAMESPACE
