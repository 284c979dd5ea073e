#include "kernels/dequantize/dequantize.h"

#include <cstdint>

#include "kernels/simd/half.h"

namespace wkv {

namespace {

float scale_at(const unsigned char* bytes) {
  return f16_to_f32(static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8));
}

int signed_byte(unsigned char byte) { return byte < 128 ? byte : byte - 256; }

// Of 32 numbers: 16 bytes have the first 16 in their low halves, the others in their high halves.
int half_byte(const unsigned char* bytes, int index) {
  return index < 16 ? bytes[index] & 15 : bytes[index - 16] >> 4;
}

// The same with a fifth bit, of which four bytes have 32.
int five_bits(const unsigned char* fifth, const unsigned char* bytes, int index) {
  const int high = fifth[index / 8] >> (index % 8) & 1;
  return half_byte(bytes, index) + 16 * high;
}

// q4_k and q5_k: scale and minimum of a group of 32, 6 bits each; 12 bytes have them for 8 groups. The last
// four of each have their upper two bits in those of the first four's bytes that these leave free.
struct Group {
  int scale;
  int minimum;
};

Group group_at(const unsigned char* packed, int group) {
  if (group < 4) return {packed[group] & 63, packed[group + 4] & 63};
  return {(packed[group + 4] & 15) + (packed[group - 4] >> 6) * 16,
          (packed[group + 4] >> 4) + (packed[group] >> 6) * 16};
}

// Of 256 numbers: a byte has two bits of four numbers, which are 32 apart; 32 bytes have 128 numbers.
int two_bits(const unsigned char* bytes, int index) {
  return bytes[index / 128 * 32 + index % 32] >> (index % 128 / 32 * 2) & 3;
}

// iq4_nl and iq4_xs: what their codes stand for.
constexpr int kUneven[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// Of 256 numbers: 32 bytes have a group of 32 in their low halves, and the next one in their high halves.
int half_byte_of_group(const unsigned char* bytes, int group, int index) {
  const unsigned char byte = bytes[group / 2 * 32 + index];
  return group % 2 == 0 ? byte & 15 : byte >> 4;
}

}  // namespace

// d, codes
void dequantize_q8_0(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  for (int i = 0; i < 32; ++i) numbers[i] = d * static_cast<float>(signed_byte(block[2 + i]));
}

// d, codes
void dequantize_q4_0(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  for (int i = 0; i < 32; ++i) numbers[i] = d * static_cast<float>(half_byte(block + 2, i) - 8);
}

// d, m, codes
void dequantize_q4_1(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  const float m = scale_at(block + 2);
  for (int i = 0; i < 32; ++i) numbers[i] = d * static_cast<float>(half_byte(block + 4, i)) + m;
}

// d, fifth bits, codes
void dequantize_q5_0(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  for (int i = 0; i < 32; ++i) numbers[i] = d * static_cast<float>(five_bits(block + 2, block + 6, i) - 16);
}

// d, m, fifth bits, codes
void dequantize_q5_1(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  const float m = scale_at(block + 2);
  for (int i = 0; i < 32; ++i) numbers[i] = d * static_cast<float>(five_bits(block + 4, block + 8, i)) + m;
}

// Scales in low halves and minima in high halves, codes, d, e
void dequantize_q2_k(const unsigned char* block, float* numbers) {
  const float d = scale_at(block + 80);
  const float e = scale_at(block + 82);
  for (int i = 0; i < 256; ++i) {
    const int scale = block[i / 16] & 15;
    const int minimum = block[i / 16] >> 4;
    const int code = two_bits(block + 16, i);
    numbers[i] = d * static_cast<float>(scale * code) - e * static_cast<float>(minimum);
  }
}

// Third bits (a byte has those of its place in all groups of 32), low two bits, scales, d. Of the scales, 8
// bytes have low halves, a byte those of two that are 8 apart, and 4 bytes the upper two bits, a byte those
// of four that are 4 apart.
void dequantize_q3_k(const unsigned char* block, float* numbers) {
  const float d = scale_at(block + 108);
  const unsigned char* scales = block + 96;
  for (int i = 0; i < 256; ++i) {
    const int third = block[i % 32] >> (i / 32) & 1;
    const int code = two_bits(block + 32, i) + 4 * third;
    const int group = i / 16;
    const int four = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
    const int two = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    numbers[i] = d * static_cast<float>((four + 16 * two - 32) * (code - 4));
  }
}

// d, e, scales and minima, codes
void dequantize_q4_k(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  const float e = scale_at(block + 2);
  for (int group = 0; group < 8; ++group) {
    const auto [scale, minimum] = group_at(block + 4, group);
    for (int i = 0; i < 32; ++i) {
      const int code = half_byte_of_group(block + 16, group, i);
      numbers[group * 32 + i] = d * static_cast<float>(scale * code) - e * static_cast<float>(minimum);
    }
  }
}

// d, e, scales and minima, fifth bits (a byte has those of its place in all groups), codes
void dequantize_q5_k(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  const float e = scale_at(block + 2);
  for (int group = 0; group < 8; ++group) {
    const auto [scale, minimum] = group_at(block + 4, group);
    for (int i = 0; i < 32; ++i) {
      const int fifth = block[16 + i] >> group & 1;
      const int code = half_byte_of_group(block + 48, group, i) + 16 * fifth;
      numbers[group * 32 + i] = d * static_cast<float>(scale * code) - e * static_cast<float>(minimum);
    }
  }
}

// Low four bits, high two bits, scales, d. Of each half's 128 numbers, i and i + 64 share a byte of low bits,
// and i, i + 32, i + 64 and i + 96 one of high bits.
void dequantize_q6_k(const unsigned char* block, float* numbers) {
  const float d = scale_at(block + 208);
  for (int half = 0; half < 2; ++half) {
    const unsigned char* low = block + half * 64;
    const unsigned char* high = block + 128 + half * 32;
    for (int i = 0; i < 128; ++i) {
      const int four = i < 64 ? low[i] & 15 : low[i - 64] >> 4;
      const int two = high[i % 32] >> (i / 32 * 2) & 3;
      const int scale = signed_byte(block[192 + half * 8 + i / 16]);
      numbers[half * 128 + i] = d * static_cast<float>(scale * (four + 16 * two - 32));
    }
  }
}

// d, codes
void dequantize_iq4_nl(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  for (int i = 0; i < 32; ++i) numbers[i] = d * static_cast<float>(kUneven[half_byte(block + 2, i)]);
}

// d, upper two bits of the scales (a byte has those of four groups), their low halves (a byte has those of
// two), codes in groups of 32
void dequantize_iq4_xs(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  for (int group = 0; group < 8; ++group) {
    const int four = block[4 + group / 2] >> (group % 2 * 4) & 15;
    const int two = block[2 + group / 4] >> (group % 4 * 2) & 3;
    const int scale = four + 16 * two - 32;
    for (int i = 0; i < 32; ++i) {
      const int value = kUneven[half_byte(block + 8 + group * 16, i)];
      numbers[group * 32 + i] = d * static_cast<float>(scale * value);
    }
  }
}

}  // namespace wkv
