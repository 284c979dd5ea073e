#pragma once

// Rows in spans of 256 columns, which a warp takes at once: a lane has four neighbouring numbers of either
// half, sixteen bytes each where they are aligned.

#include <initializer_list>

#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

constexpr int kSpan = 256;
constexpr int kSpanQuads = 2;
constexpr int kPartNumbers = 4 * kSpanQuads;

// Whether groups of so many columns, a multiple of 16, do not go beyond spans.
WKV_BOTH bool is_part_of_span(int group) { return group <= kSpan && (group & (group - 1)) == 0; }

// A lane's numbers of a span; of[4 * quad + i] is that of the column part_column(span, quad) + i.
struct Part {
  float of[kPartNumbers];
};

WKV_BOTH int spans_of(int size) { return (size + kSpan - 1) / kSpan; }

// Whether rows of this size are of whole spans, and these begin at sixteen bytes; null does.
inline bool are_whole_spans(int size, std::initializer_list<const float*> rows) {
  for (const float* const row : rows) {
    if (reinterpret_cast<std::uintptr_t>(row) % sizeof(Floats4) != 0) return false;
  }
  return size % kSpan == 0;
}

WKV_DEVICE int part_column(int span, int quad) {
  return span * kSpan + quad * (kSpan / kSpanQuads) + thread_index() % kWarp * 4;
}
WKV_DEVICE bool is_whole_quad(const float* row, int column, int size) {
  return column + 4 <= size && reinterpret_cast<std::uintptr_t>(row + column) % sizeof(Floats4) == 0;
}

// Four numbers from a column on, a multiple of 4; 0 beyond the row.
WKV_DEVICE Floats4 load_quad(const float* row, int column, int size) {
  if (is_whole_quad(row, column, size)) return *reinterpret_cast<const Floats4*>(row + column);
  Floats4 quad = {};
  if (column < size) quad.x = row[column];
  if (column + 1 < size) quad.y = row[column + 1];
  if (column + 2 < size) quad.z = row[column + 2];
  if (column + 3 < size) quad.w = row[column + 3];
  return quad;
}

// Of a lane, 0 beyond the row. Whole spans, of rows that begin at sixteen bytes, take fewer instructions.
template <bool kWhole = false>
WKV_DEVICE Part load_part(const float* row, int span, int size) {
  Part part;
  WKV_UNROLL
  for (int quad = 0; quad < kSpanQuads; ++quad) {
    const int column = part_column(span, quad);
    const Floats4 all =
        kWhole ? *reinterpret_cast<const Floats4*>(row + column) : load_quad(row, column, size);
    float* const of = part.of + 4 * quad;
    of[0] = all.x;
    of[1] = all.y;
    of[2] = all.z;
    of[3] = all.w;
  }
  return part;
}

WKV_DEVICE void store_part(float* row, int span, int size, const Part& part) {
  WKV_UNROLL
  for (int quad = 0; quad < kSpanQuads; ++quad) {
    const int column = part_column(span, quad);
    const float* const of = part.of + 4 * quad;
    if (is_whole_quad(row, column, size)) {
      *reinterpret_cast<Floats4*>(row + column) = {of[0], of[1], of[2], of[3]};
    } else {
      WKV_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (column + i < size) row[column + i] = of[i];
      }
    }
  }
}

// Of input scales, which are all 1 where there are none.
template <bool kWhole = false>
WKV_DEVICE Part load_scales(const float* scales, int span, int size) {
  if (scales != nullptr) return load_part<kWhole>(scales, span, size);
  Part ones;
  WKV_UNROLL
  for (float& one : ones.of) one = 1;
  return ones;
}

WKV_DEVICE Part times(const Part& a, const Part& b) {
  Part product;
  WKV_UNROLL
  for (int i = 0; i < kPartNumbers; ++i) product.of[i] = a.of[i] * b.of[i];
  return product;
}

// Begins to bring a span, which the warp will read, to the second-level cache. The row may be null.
WKV_DEVICE void expect_span(const float* row, int span, int size) {
  const int column = span * kSpan + thread_index() % kWarp * (kSpan / kWarp);
  if (row != nullptr && column < size) expect_read(row + column);
}

// Calls body(span) for those of the warp's spans among all of a block's.
template <class Body>
WKV_DEVICE void for_spans_of_warp(int size, Body body) {
  for (int span = thread_index() / kWarp; span * kSpan < size; span += block_threads() / kWarp) body(span);
}

}  // namespace wkv::cuda
