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

// The codes of four numbers, a byte each.
WKV_DEVICE std::uint32_t codes_of(const float* four, const Coding& coding) {
  std::uint32_t bits[4];
  WKV_UNROLL
  for (int i = 0; i < 4; ++i) bits[i] = bits_of_nearest(four[i] * coding.inverse);
  return coding.finite ? low_bytes(bits[0], bits[1], bits[2], bits[3]) : 0;
}

// Where a lane's codes of a span's first quad go, and those of the other one.
WKV_DEVICE std::uint32_t* codes_at(const QuantizedTokens& out, int token, int span, int quad) {
  constexpr int kQuadBytes = kSpan / kSpanQuads * kTileTokens;
  return reinterpret_cast<std::uint32_t*>(code_at(out, token, part_column(span, 0)) + quad * kQuadBytes);
}

WKV_DEVICE std::uint32_t largest_bits(const float* four) {
  return larger(larger(magnitude_bits(four[0]), magnitude_bits(four[1])),
                larger(magnitude_bits(four[2]), magnitude_bits(four[3])));
}

// Groups that are parts of spans, of 16, 32, 64, 128 or 256 columns: a warp quantizes those of a span, of
// numbers that are 0 beyond the row.
template <bool kWhole = false>
WKV_DEVICE void quantize_span(const QuantizedTokens& out, int token, int span, const Part& values) {
  static_assert(kSpanQuads == 2);
  const auto is_there = [&](int quad) { return kWhole || part_column(span, quad) < padded_columns(out); };
  std::uint32_t largest[] = {largest_bits(values.of), largest_bits(values.of + 4)};
  if (out.group == kSpan) {
    const Coding coding = coding_of(warp_largest(larger(largest[0], largest[1])));
    if (is_there(0)) *codes_at(out, token, span, 0) = codes_of(values.of, coding);
    if (is_there(1)) *codes_at(out, token, span, 1) = codes_of(values.of + 4, coding);
    if (thread_index() % kWarp == 0) put_scale(out, token, span, coding);
    return;
  }

  const int lanes = out.group / 4;  // that share a group
  for (int mask = lanes / 2; mask > 0; mask /= 2) {
    WKV_UNROLL
    for (std::uint32_t& each : largest) each = larger(each, shuffle_xor(each, mask));
  }
  WKV_UNROLL
  for (int quad = 0; quad < kSpanQuads; ++quad) {
    const Coding coding = coding_of(largest[quad]);
    if (is_there(quad)) *codes_at(out, token, span, quad) = codes_of(values.of + 4 * quad, coding);
    const int column = part_column(span, quad);
    if ((thread_index() & (lanes - 1)) == 0 && (kWhole || column < out.columns)) {
      put_scale(out, token, column >> log2_of(out.group), coding);
    }
  }
}

}  // namespace wkv::cuda
