#pragma once

// Numbers of 8 bits: symmetric, code * scale, in groups along a row that share a scale.
//
// The codes of activations are signed, -127 to 127. Those of weights are kept with 128 added, 1 to 255: one
// operand of the dot products of x86 is unsigned.

#include <cstddef>
#include <cstdint>

#include "kernels/compiler.h"

namespace wkv {

constexpr int kMaxCode = 127;
// Where the largest magnitude of a group is below that, all of its codes are 0.
constexpr float kMinMagnitude = 1e-30F;
// Groups are of a multiple of this many columns: as many as a kernel takes of a token at once.
constexpr int kGroupStep = 16;

// Activations of some tokens as gemm_int8 reads them. Tokens lie in tiles of tile_tokens, the last with what
// remains: [tile][padded_columns / 16][token of the tile][16].
struct QuantizedActivations {
  int tile_tokens;  // 1 to what QuantizedKernels has
  std::int8_t* codes;
  // [group][stride], a number per token.
  float* scales;
  // The same, or for int4 [padded_columns / 16][stride]: -(what is added to the codes of weights) * the sum
  // of these codes.
  std::int32_t* offsets;
  std::ptrdiff_t stride;
};

// What weights are kept in that activations are quantized for.
enum class WeightBits : std::uint8_t { k8, k4 };

struct QuantizeActivationsArguments {
  const float* x;             // [columns]
  const float* input_scales;  // [columns]: x is multiplied by them first; null: all 1
  QuantizedActivations out;
  int token;   // which of the tokens this is
  int tokens;  // in all
  int columns;
  int group;  // a multiple of kGroupStep
  WeightBits weights;
};
// One token. In each group the scale is max |x| / 127 and each code the nearest of x / scale, ties to even;
// where max |x| is below 1e-30 all are 0. Where a number is NaN or infinite the scale is NaN.
using QuantizeActivations = void (*)(const QuantizeActivationsArguments& arguments);

// One group of a row of weights, `size` numbers, 1 to 2^16, that are finite. The scale is that of max |w| /
// level, for the level among 127, 126, ... 121 whose squared errors add up to least; a code is the nearest of
// w / scale, ties to even, at most 127 in magnitude, and 128 more. Returns the scale; 0 and codes of 128
// where max |w| is below 1e-30.
using QuantizeWeights = float (*)(const float* weights, int size, unsigned char* codes);

// In int4 a block of 16 columns has a multiplier: one of these, in steps of about a fifth, or a negative.
static constexpr std::int8_t kInt4Multipliers[16] = {19,  38,  51,  61,  74,  89,  107,  127,
                                                     -19, -38, -51, -61, -74, -89, -107, -127};
static inline int int4_multiplier(int index) { return kInt4Multipliers[index]; }

// A group's scale: a float of 8 bits, 4 of them an exponent. The least is 2^-20.
constexpr int kInt4ScaleShift = 19;
constexpr std::int32_t kInt4LeastScaleBits = (127 - 20) << 23;
static inline float int4_scale(int code) {
  return compiler::float_of((code << kInt4ScaleShift) + kInt4LeastScaleBits);
}

constexpr int kMaxInt4Group = 256;
// What the largest scale reaches.
constexpr float kMaxInt4Weight = 8.0F * 127.0F * 1.9375F / 32.0F;

// One group of a row of weights, in int4.
struct QuantizeInt4Arguments {
  const float* weights;     // [size], magnitudes up to kMaxInt4Weight
  const float* importance;  // [size], not negative: what the square of a weight's error counts
  int size;                 // 1 to kMaxInt4Group
  unsigned char* codes;     // [size]: with 8 added, 0 to 15
  unsigned char* indices;   // [size / 16, rounded up]: of the blocks' multipliers
};
// Returns the code of the scale. Tried are every other scale that brings the largest magnitude to 0.78
// to 1.14 times 8 * 127, and in each block four multipliers from 0.75 of what reaches the block's largest on,
// with the sign that makes that one negative, for which there is one code more. The least sum of errors is
// taken.
using QuantizeInt4 = unsigned char (*)(const QuantizeInt4Arguments& arguments);

namespace reference {
void quantize_activations(const QuantizeActivationsArguments& arguments);
float quantize_weights(const float* weights, int size, unsigned char* codes);
unsigned char quantize_int4(const QuantizeInt4Arguments& arguments);
}  // namespace reference

}  // namespace wkv
