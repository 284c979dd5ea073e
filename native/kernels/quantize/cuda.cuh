#pragma once

#include "kernels/cuda/span.cuh"
#include "kernels/quantize/cuda.h"

namespace wkv::cuda {

// How a group of numbers becomes codes: by the bits of its largest magnitude. As whole numbers magnitudes
// have the same order, infinity is above all numbers and NaN above that.
struct Coding {
  float largest;
  float inverse;
  bool finite;

  WKV_DEVICE int code(float value) const { return finite ? nearest(value * inverse) : 0; }
  WKV_DEVICE float scale() const {
    return !finite ? float_of(0x7fc00000U) : inverse == 0.0F ? 0.0F : largest / 127.0F;
  }
};
WKV_DEVICE std::uint32_t magnitude_bits(float value) { return bits_of(value) & 0x7fffffffU; }
WKV_DEVICE std::uint32_t larger(std::uint32_t a, std::uint32_t b) { return a > b ? a : b; }
WKV_DEVICE Coding coding_of(std::uint32_t largest_bits) {
  const float largest = float_of(largest_bits);
  const bool finite = largest_bits < 0x7f800000U;
  return {largest, finite && largest >= 1e-30F ? 127.0F / largest : 0.0F, finite};
}

WKV_DEVICE int padded_columns(const QuantizedTokens& out) { return (out.columns + 15) / 16 * 16; }
WKV_DEVICE std::int8_t* code_at(const QuantizedTokens& out, int token, int column) {
  return out.codes + static_cast<std::ptrdiff_t>(token / kTileTokens) * kTileTokens * padded_columns(out) +
         static_cast<std::ptrdiff_t>(column / 16) * (16 * kTileTokens) + token % kTileTokens * 16 +
         column % 16;
}
WKV_DEVICE void put_scale(const QuantizedTokens& out, int token, int index, const Coding& coding) {
  out.scales[static_cast<std::ptrdiff_t>(index) * out.stride + token] = coding.scale();
}

// Groups of any size: a warp quantizes one of them at a time; value(column) is what becomes a code.
template <class Value>
WKV_DEVICE void quantize_group(const QuantizedTokens& out, int token, int index, Value value) {
  const int lane = thread_index() % kWarp;
  const int padded = padded_columns(out);
  const int begin = index * out.group;
  const int end = begin + out.group < out.columns ? begin + out.group : out.columns;
  const int padded_end = begin + out.group < padded ? begin + out.group : padded;
  std::uint32_t largest = 0;
  for (int column = begin + lane; column < end; column += kWarp) {
    largest = larger(largest, magnitude_bits(value(column)));
  }
  const Coding coding = coding_of(warp_largest(largest));
  for (int column = begin + lane; column < padded_end; column += kWarp) {
    const int code = column < end ? coding.code(value(column)) : 0;
    *code_at(out, token, column) = static_cast<std::int8_t>(code);
  }
  if (lane == 0) put_scale(out, token, index, coding);
}

WKV_DEVICE int groups_of(const QuantizedTokens& out) { return (out.columns + out.group - 1) / out.group; }

// All groups of a token, by a block.
template <class Value>
WKV_DEVICE void quantize_groups(const QuantizedTokens& out, int token, Value value) {
  for (int index = thread_index() / kWarp; index < groups_of(out); index += block_threads() / kWarp) {
    quantize_group(out, token, index, value);
  }
}

// Groups that are parts of spans, of 16, 32, 64, 128 or 256 columns: a warp quantizes those of a span, of
// numbers that are 0 beyond the row.
WKV_DEVICE void quantize_span(const QuantizedTokens& out, int token, int span, const Part& values) {
  // Lanes that share a group; one of 256 columns is both quads of all.
  const int lanes = out.group / 4 < kWarp ? out.group / 4 : kWarp;
  std::uint32_t largest[kSpanQuads];
  WKV_UNROLL
  for (int quad = 0; quad < kSpanQuads; ++quad) {
    largest[quad] = 0;
    WKV_UNROLL
    for (int i = 0; i < 4; ++i) {
      largest[quad] = larger(largest[quad], magnitude_bits(values.of[4 * quad + i]));
    }
  }
  if (out.group == kSpan) largest[0] = largest[1] = larger(largest[0], largest[1]);
  for (int mask = lanes / 2; mask > 0; mask /= 2) {
    WKV_UNROLL
    for (std::uint32_t& each : largest) each = larger(each, shuffle_xor(each, mask));
  }

  Coding codings[kSpanQuads];
  WKV_UNROLL
  for (int quad = 0; quad < kSpanQuads; ++quad) {
    codings[quad] = coding_of(largest[quad]);
    std::uint32_t four = 0;
    WKV_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int code = codings[quad].code(values.of[4 * quad + i]);
      four |= (static_cast<std::uint32_t>(code) & 0xffU) << (8 * i);
    }
    const int column = part_column(span, quad);
    if (column < padded_columns(out)) {
      *reinterpret_cast<std::uint32_t*>(code_at(out, token, column)) = four;
    }
  }
  if (thread_index() % lanes != 0) return;
  WKV_UNROLL
  for (int quad = 0; quad < kSpanQuads; ++quad) {
    const int column = part_column(span, quad);
    if (column < out.columns && column % out.group == 0) {
      put_scale(out, token, column / out.group, codings[quad]);
    }
  }
}

}  // namespace wkv::cuda
