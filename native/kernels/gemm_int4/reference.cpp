#include <algorithm>
#include <cmath>

#include "kernels/gemm_int4/gemm_int4.h"

namespace wkv::reference {

void gemm_int4(const GemmInt8Arguments& a) {
  const unsigned char* multipliers = a.weights + int4_multipliers_offset(a.padded_columns);
  const unsigned char* scales = a.weights + int4_scales_offset(a.padded_columns);
  const int tile_tokens = a.x.tile_tokens;
  for (int t = 0; t < a.tokens; ++t) {
    const int tile = t / tile_tokens * tile_tokens;
    const std::ptrdiff_t width = std::min(a.tokens - tile, tile_tokens);
    const std::int8_t* x = a.x.codes + std::ptrdiff_t{tile} * a.padded_columns + (t - tile) * kGroupStep;
    for (int row = 0; row < a.rows; ++row) {
      float output = 0;
      for (int begin = 0, index = 0; begin < a.padded_columns; begin += a.group, ++index) {
        const int end = std::min(begin + a.group, a.padded_columns);
        std::int64_t sum = 0;
        for (int column = begin; column < end; ++column) {
          const int codes = a.weights[(column / 8 * kInt8PanelRows + row) * 4 + column % 4];
          const int code = (column % 8 < 4 ? codes % 16 : codes / 16) - 8;
          const int block = column / kGroupStep;
          const int indices = multipliers[block / 2 * kInt8PanelRows + row];
          const int multiplier = int4_multiplier(block % 2 == 0 ? indices % 16 : indices / 16);
          sum += multiplier * code * x[block * width * kGroupStep + column % kGroupStep];
        }
        const float scale = int4_scale(scales[index * kInt8PanelRows + row]);
        output = std::fma(static_cast<float>(sum) * scale, a.x.scales[index * a.x.stride + t], output);
      }
      a.output[t * a.output_stride + row] = output;
    }
  }
}

}  // namespace wkv::reference
