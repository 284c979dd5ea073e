#pragma once

// Numbers of 8 bits: symmetric, code * scale, in groups along a row that share a scale.
//
// The codes of activations are signed, -127 to 127. Those of weights are kept with 128 added, 1 to 255: one
// operand of the dot products of x86 is unsigned.

#include <cstddef>
#include <cstdint>

namespace wkv {

constexpr int kMostCode = 127;
// Groups are of a multiple of this many columns: as many as a kernel takes of a token at once.
constexpr int kGroupStep = 16;

// Activations of some tokens as gemm_int8 reads them. Tokens lie in tiles of tile_tokens, the last with what
// remains: [tile][padded_columns / 16][token of the tile][16].
struct QuantizedActivations {
  int tile_tokens;  // KernelTable::int8's
  std::int8_t* codes;
  // [group][stride], a number per token.
  float* scales;
  std::int32_t* offsets;  // -128 * the sum of the group's codes: what undoes the 128 of the weights' codes
  std::ptrdiff_t stride;
};

struct QuantizeActivationsArguments {
  const float* x;             // [columns]
  const float* input_scales;  // [columns]: x is multiplied by them first; null: all 1
  QuantizedActivations out;
  int token;   // which of the tokens this is
  int tokens;  // in all
  int columns;
  int group;  // a multiple of kGroupStep
};
// One token. In each group the scale is max |x| / 127 and each code the nearest of x / scale, ties to even;
// where max |x| is below 1e-30 all are 0. Where a number is NaN or infinite the scale is NaN.
using QuantizeActivations = void (*)(const QuantizeActivationsArguments& arguments);

// One group of a row of weights, `size` numbers, 1 to 2^17, that are finite. The scale is that of max |w| /
// level, for the level among 127, 126, ... 121 whose squared errors add up to least; a code is the nearest of
// w / scale, ties to even, at most 127 in magnitude, and 128 more. Returns the scale; 0 and codes of 128
// where max |w| is below 1e-30.
using QuantizeWeights = float (*)(const float* weights, int size, unsigned char* codes);

namespace reference {
void quantize_activations(const QuantizeActivationsArguments& arguments);
float quantize_weights(const float* weights, int size, unsigned char* codes);
}  // namespace reference

}  // namespace wkv
