#include "kernels/gemm_int8/gemm_int8.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace wkv::reference {

void gemm_int8(const GemmInt8Arguments& a) {
  const int tile_tokens = a.x.tile_tokens;
  for (int t = 0; t < a.tokens; ++t) {
    const int tile = t / tile_tokens * tile_tokens;
    const std::ptrdiff_t width = std::min(a.tokens - tile, tile_tokens);
    const std::int8_t* x = a.x.codes + std::ptrdiff_t{tile} * a.padded_columns + (t - tile) * kGroupStep;
    for (int row = 0; row < a.rows; ++row) {
      float output = 0;
      const unsigned char* group = a.weights;
      for (int begin = 0, index = 0; begin < a.padded_columns; begin += a.group, ++index) {
        const int columns = std::min(a.group, a.padded_columns - begin);
        std::int64_t sum = 0;
        for (int column = 0; column < columns; ++column) {
          const int weight = group[(column / 4 * kInt8PanelRows + row) * 4 + column % 4] - 128;
          const std::ptrdiff_t block = (begin + column) / kGroupStep;
          sum += weight * x[block * width * kGroupStep + column % kGroupStep];
        }
        group += std::ptrdiff_t{columns} * kInt8PanelRows;
        float scale;
        std::memcpy(&scale, group + row * 4, sizeof scale);
        group += kInt8PanelRows * sizeof(float);
        output = std::fma(static_cast<float>(sum) * scale, a.x.scales[index * a.x.stride + t], output);
      }
      a.output[t * a.output_stride + row] = output;
    }
  }
}

}  // namespace wkv::reference
