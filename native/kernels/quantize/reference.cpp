#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/quantize/quantize.h"

namespace wkv::reference {

namespace {

int nearest(float value) { return static_cast<int>(std::nearbyint(value)); }

}  // namespace

void quantize_activations(const QuantizeActivationsArguments& a) {
  const int tile_tokens = a.out.tile_tokens;
  const int tile = a.token / tile_tokens * tile_tokens;
  const std::ptrdiff_t width = std::min(a.tokens - tile, tile_tokens);
  const std::ptrdiff_t padded = (std::ptrdiff_t{a.columns} + kGroupStep - 1) / kGroupStep * kGroupStep;
  const auto code_at = [&](int column) -> std::int8_t& {
    return a.out.codes[tile * padded + (column / kGroupStep * width + a.token - tile) * kGroupStep +
                       column % kGroupStep];
  };
  for (int column = a.columns; column < padded; ++column) code_at(column) = 0;
  for (int begin = 0; begin < a.columns; begin += a.group) {
    const int end = std::min(begin + a.group, a.columns);
    float largest = 0;
    bool finite = true;
    const auto scaled = [&](int column) {
      return a.input_scales == nullptr ? a.x[column] : a.x[column] * a.input_scales[column];
    };
    for (int column = begin; column < end; ++column) {
      finite = finite && std::isfinite(scaled(column));
      largest = std::max(largest, std::fabs(scaled(column)));
    }
    const float inverse = finite && largest >= kMinMagnitude ? 127.0F / largest : 0.0F;
    for (int column = begin; column < end; ++column) {
      code_at(column) = static_cast<std::int8_t>(finite ? nearest(scaled(column) * inverse) : 0);
    }
    const std::ptrdiff_t place = begin / a.group * a.out.stride + a.token;
    const float scale = inverse == 0.0F ? 0.0F : largest / 127.0F;
    a.out.scales[place] = finite ? scale : std::numeric_limits<float>::quiet_NaN();
  }

  const int offset_columns = a.weights == WeightBits::k4 ? kGroupStep : a.group;
  const int bias = a.weights == WeightBits::k4 ? 8 : 128;
  for (int begin = 0; begin < a.columns; begin += offset_columns) {
    std::int32_t sum = 0;
    for (int column = begin; column < std::min(begin + offset_columns, a.columns); ++column) {
      sum += code_at(column);
    }
    a.out.offsets[begin / offset_columns * a.out.stride + a.token] = -bias * sum;
  }
}

float quantize_weights(const float* weights, int size, unsigned char* codes) {
  float largest = 0;
  for (int i = 0; i < size; ++i) largest = std::max(largest, std::fabs(weights[i]));
  if (largest < kMinMagnitude) {
    std::fill_n(codes, size, static_cast<unsigned char>(128));
    return 0;
  }
  const auto code_of = [&](int i, int level) {
    const float inverse = static_cast<float>(level) / largest;
    return std::clamp(nearest(weights[i] * inverse), -kMaxCode, kMaxCode);
  };
  int best = kMaxCode;
  double best_error = std::numeric_limits<double>::infinity();
  for (int level = kMaxCode; level > 120; --level) {
    double error = 0;
    for (int i = 0; i < size; ++i) {
      const double scale = static_cast<double>(largest) / level;
      const double off = static_cast<double>(weights[i]) / static_cast<double>(largest) -
                         code_of(i, level) * scale / static_cast<double>(largest);
      error += off * off;
    }
    if (error < best_error) {
      best_error = error;
      best = level;
    }
  }
  for (int i = 0; i < size; ++i) codes[i] = static_cast<unsigned char>(code_of(i, best) + 128);
  return largest / static_cast<float>(best);
}

}  // namespace wkv::reference
