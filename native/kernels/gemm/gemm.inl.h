// A register tile is some rows of one or two panels times some tokens; its accumulators, sixteen lanes each,
// stay in registers over a run of columns. Prompts are cut into runs of kRunColumns so that a run of the
// tile's weights and activations fits the first-level cache; between runs the accumulators wait in scratch.

namespace wkv::WKV_ISA_NAMESPACE {

#if WKV_ISA_AVX512
constexpr int kTileRows = 4;  // 4 x 6 accumulators of 32 registers
constexpr int kTileTokens = 6;
constexpr int kDecodePanels = 4;  // 8 rows at once hide the latency of fma
#elif WKV_ISA_NEON
constexpr int kTileRows = 2;
constexpr int kTileTokens = 3;
constexpr int kDecodePanels = 1;
#else
constexpr int kTileRows = 2;  // 2 x 3 accumulators of 2 registers each, of 16
constexpr int kTileTokens = 3;
constexpr int kDecodePanels = 1;
#endif
constexpr int kRunColumns = 1024;
constexpr int kPrefetchBytes = 2048;

struct WeightF32 {
  using Element = float;
  static F32x16 widen(const float* p) { return load(p); }
};
struct WeightF16 {
  using Element = std::uint16_t;
  static F32x16 widen(const std::uint16_t* p) { return load_f16(p); }
};
struct WeightBf16 {
  using Element = std::uint16_t;
  static F32x16 widen(const std::uint16_t* p) { return load_bf16(p); }
};

constexpr int kGroup = kPanelRows * kPanelColumns;  // elements of a panel for sixteen columns

template <int kRows, int kTokens>
struct Tile {
  F32x16 sums[static_cast<std::size_t>(kRows)][static_cast<std::size_t>(kTokens)];
};

// Adds `columns` columns of kRows rows (of neighbouring panels, `panel_stride` elements apart) times kTokens
// tokens to `tile`.
template <class Weight, int kRows, int kTokens>
WKV_INLINE void accumulate(const typename Weight::Element* weights, std::ptrdiff_t panel_stride,
                           const float* x, std::ptrdiff_t x_stride, int columns, Tile<kRows, kTokens>& tile) {
  // In variables of its own: through the reference, gcc would store every sum at every turn.
  Tile<kRows, kTokens> local = tile;
  for (int column = 0; column < columns; column += kPanelColumns) {
    F32x16 activation[static_cast<std::size_t>(kTokens)];
    WKV_UNROLLED
    for (int t = 0; t < kTokens; ++t) activation[t] = load(x + t * x_stride + column);
    if (kTokens == 1) {
      // A single token's weights come from memory once; asking early carries the streams over page ends.
      for (int panel = 0; panel < kRows / kPanelRows; ++panel) {
        const auto* ahead = reinterpret_cast<const char*>(weights + panel * panel_stride) + kPrefetchBytes;
        for (std::size_t line = 0; line < kGroup * sizeof(*weights); line += 64) WKV_PREFETCH(ahead + line);
      }
    }
    WKV_UNROLLED
    for (int row = 0; row < kRows; ++row) {
      const F32x16 weight =
          Weight::widen(weights + row / kPanelRows * panel_stride + row % kPanelRows * kPanelColumns);
      WKV_UNROLLED
      for (int t = 0; t < kTokens; ++t) local.sums[row][t] = fma(weight, activation[t], local.sums[row][t]);
    }
    weights += kGroup;
  }
  tile = local;
}

// One tile over one run of columns: begins at zero or from scratch, ends in scratch or in the output.
template <class Weight, int kRows, int kTokens>
inline void run_tile(const GemmArguments& a, const typename Weight::Element* weights, int row, int token,
                     int begin, int columns) {
  const std::ptrdiff_t panel_stride = std::ptrdiff_t{kPanelRows} * a.padded_columns;
  // A tile's sums lie together: [row][token][16].
  float* partial =
      a.scratch + (std::ptrdiff_t{row} * kBlockTokens + std::ptrdiff_t{token} * kRows) * kPanelColumns;
  Tile<kRows, kTokens> tile;
  WKV_UNROLLED
  for (int r = 0; r < kRows; ++r) {
    WKV_UNROLLED
    for (int t = 0; t < kTokens; ++t) {
      const float* saved = partial + (r * kTokens + t) * kPanelColumns;
      tile.sums[r][t] = begin == 0 ? broadcast(0.0F) : load(saved);
    }
  }
  const float* x = a.x + token * a.x_stride + begin;
  accumulate<Weight, kRows, kTokens>(weights, panel_stride, x, a.x_stride, columns, tile);
  const bool last = begin + columns == a.padded_columns;
  WKV_UNROLLED
  for (int r = 0; r < kRows; ++r) {
    WKV_UNROLLED
    for (int t = 0; t < kTokens; ++t) {
      if (!last) {
        store(partial + (r * kTokens + t) * kPanelColumns, tile.sums[r][t]);
      } else if (row + r < a.rows) {
        a.output[(token + t) * a.output_stride + row + r] = reduce_add(tile.sums[r][t]);
      }
    }
  }
}

template <class Weight, int kTokens>
inline void run_token_tile(const GemmArguments& a, int token, int begin, int columns) {
  const auto* weights = static_cast<const typename Weight::Element*>(a.weights);
  for (int row = 0; row < a.rows; row += kTileRows) {
    const std::ptrdiff_t panel = row / kPanelRows;
    const auto* first = weights + panel * kPanelRows * a.padded_columns + begin / kPanelColumns * kGroup +
                        row % kPanelRows * kPanelColumns;
    run_tile<Weight, kTileRows, kTokens>(a, first, row, token, begin, columns);
  }
}

template <class Weight>
inline void gemm_tokens(const GemmArguments& a) {
  for (int begin = 0; begin < a.padded_columns; begin += kRunColumns) {
    const int left = a.padded_columns - begin;
    const int columns = left < kRunColumns ? left : kRunColumns;
    int token = 0;
    for (; token + kTileTokens <= a.tokens; token += kTileTokens) {
      run_token_tile<Weight, kTileTokens>(a, token, begin, columns);
    }
    switch (a.tokens - token) {
      case 1:
        run_token_tile<Weight, 1>(a, token, begin, columns);
        break;
      case 2:
        run_token_tile<Weight, 2>(a, token, begin, columns);
        break;
#if WKV_ISA_AVX512
      case 3:
        run_token_tile<Weight, 3>(a, token, begin, columns);
        break;
      case 4:
        run_token_tile<Weight, 4>(a, token, begin, columns);
        break;
      case 5:
        run_token_tile<Weight, 5>(a, token, begin, columns);
        break;
#endif
      default:
        break;
    }
  }
}

// A single token is bound by memory: whole panels, read once, front to back.
template <class Weight>
inline void gemm_single(const GemmArguments& a) {
  const auto* weights = static_cast<const typename Weight::Element*>(a.weights);
  int row = 0;
  for (; row + kDecodePanels * kPanelRows <= a.rows; row += kDecodePanels * kPanelRows) {
    const auto* panel = weights + std::ptrdiff_t{row} * a.padded_columns;
    run_tile<Weight, kDecodePanels * kPanelRows, 1>(a, panel, row, 0, 0, a.padded_columns);
  }
  for (; row < a.rows; row += kPanelRows) {
    const auto* panel = weights + std::ptrdiff_t{row} * a.padded_columns;
    run_tile<Weight, kPanelRows, 1>(a, panel, row, 0, 0, a.padded_columns);
  }
}

template <class Weight>
inline void gemm(const GemmArguments& a) {
  if (a.tokens == 1) {
    gemm_single<Weight>(a);
  } else {
    gemm_tokens<Weight>(a);
  }
}

}  // namespace wkv::WKV_ISA_NAMESPACE
