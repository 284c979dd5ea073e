#pragma once

#include <cstdint>

namespace wkv {

// What takes long in drawing a token: passes over the logits of the whole vocabulary.

// y = x. Whether all of them are finite.
using CopyFinite = bool (*)(float* y, const float* x, int size);

// The largest of groups: y[16 b + l] that of the elements l, l + 16, l + 32 ... of block b of kMaximaBlock,
// or -infinity if there is none; so y is 16 for each block that has begun. No x may be NaN.
constexpr int kMaximaBlock = 1024;
using Maxima = void (*)(float* y, const float* x, int size);

// y = e^((x - highest) * scale), at least e^-87; their sum. `highest` is finite and no x is above it, x may
// be -infinity; scale is above 0 and finite.
using Weigh = double (*)(float* y, const float* x, float highest, float scale, int size);

// The sum of the weights w[i] whose x[i] >= lowest.
using SumAtLeast = double (*)(const float* w, const float* x, float lowest, int size);

// The i with lowest <= x[i] < below, ascending, and how many there are. If there are more than `capacity`,
// returns capacity + 1, and what was written is worth nothing.
using Collect = int (*)(std::uint32_t* indices, const float* x, float lowest, float below, int size,
                        int capacity);

// sums[(highest - x[i]) * scale, rounded to the nearest integer, at most kBuckets - 1] += w[i]. A product
// that lies half-way goes to the even integer.
constexpr int kBuckets = 2048;
using AddToBuckets = void (*)(double* sums, const float* w, const float* x, float highest, float scale,
                              int size);

namespace reference {
bool copy_finite(float* y, const float* x, int size);
void maxima(float* y, const float* x, int size);
double weigh(float* y, const float* x, float highest, float scale, int size);
double sum_at_least(const float* w, const float* x, float lowest, int size);
int collect(std::uint32_t* indices, const float* x, float lowest, float below, int size, int capacity);
void add_to_buckets(double* sums, const float* w, const float* x, float highest, float scale, int size);
}  // namespace reference

}  // namespace wkv
