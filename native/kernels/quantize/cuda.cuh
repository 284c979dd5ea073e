#pragma once

#include "kernels/quantize/cuda.h"

namespace wkv::cuda {

WKV_DEVICE int groups_of(const QuantizedTokens& out) { return (out.columns + out.group - 1) / out.group; }

// A warp quantizes one group of one token; value(column) is what becomes a code.
template <class Value>
WKV_DEVICE void quantize_group(const QuantizedTokens& out, int token, int index, Value value) {
  const int lane = thread_index() % kWarp;
  const int padded = (out.columns + 15) / 16 * 16;
  const int begin = index * out.group;
  const int end = begin + out.group < out.columns ? begin + out.group : out.columns;
  const int padded_end = begin + out.group < padded ? begin + out.group : padded;
  // As whole numbers magnitudes have the same order, infinity is above all numbers and NaN above that.
  std::uint32_t largest_bits = 0;
  for (int column = begin + lane; column < end; column += kWarp) {
    const std::uint32_t bits = bits_of(value(column)) & 0x7fffffffU;
    largest_bits = bits > largest_bits ? bits : largest_bits;
  }
  largest_bits = warp_largest(largest_bits);
  const float largest = float_of(largest_bits);
  const bool finite = largest_bits < 0x7f800000U;
  const bool any = finite && largest >= 1e-30F;
  const float inverse = any ? 127.0F / largest : 0.0F;

  std::int8_t* const codes = out.codes +
                             static_cast<std::ptrdiff_t>(token / kTileTokens) * kTileTokens * padded +
                             token % kTileTokens * 16;
  std::int32_t sum = 0;
  for (int column = begin + lane; column < padded_end; column += kWarp) {
    const int code = finite && column < end ? nearest(value(column) * inverse) : 0;
    codes[static_cast<std::ptrdiff_t>(column / 16) * (16 * kTileTokens) + column % 16] =
        static_cast<std::int8_t>(code);
    sum += code;
  }
  sum = warp_sum(sum);
  if (lane == 0) {
    const std::ptrdiff_t place = static_cast<std::ptrdiff_t>(index) * out.stride + token;
    out.scales[place] = !finite ? float_of(0x7fc00000U) : any ? largest / 127.0F : 0.0F;
    out.offsets[place] = -128 * sum;
  }
}

}  // namespace wkv::cuda
