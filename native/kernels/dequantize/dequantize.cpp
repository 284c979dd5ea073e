#include "kernels/dequantize/dequantize.h"

#include <cstdint>

#include "kernels/simd/half.h"

namespace wkv {

namespace {

float scale_at(const unsigned char* bytes) {
  return f16_to_f32(static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8));
}

int signed_byte(unsigned char byte) { return byte < 128 ? byte : byte - 256; }

// Of 32 numbers: 16 bytes have the first half in their low halves, the other in their high halves. For number
// `index` of a half.
int half_byte(const unsigned char* bytes, int half, int index) { return bytes[index] >> (4 * half) & 15; }

// The same with a fifth bit, of which two bytes have those of a half.
int five_bits(const unsigned char* fifth, const unsigned char* bytes, int half, int index) {
  const int high = fifth[half * 2 + index / 8] >> (index % 8) & 1;
  return half_byte(bytes, half, index) + 16 * high;
}

// 32 numbers, each what `number` makes of its half and its place there.
template <typename Number>
void in_halves(float* numbers, Number number) {
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 16; ++i) numbers[half * 16 + i] = number(half, i);
  }
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

// Of 256 numbers: a byte has two bits of four numbers, which are 32 apart; 32 bytes have 128 numbers. For
// number `index` of a group of 16.
int two_bits(const unsigned char* bytes, int group, int index) {
  return bytes[group / 8 * 32 + group % 2 * 16 + index] >> (group % 8 / 2 * 2) & 3;
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
  in_halves(numbers,
            [&](int half, int i) { return d * static_cast<float>(half_byte(block + 2, half, i) - 8); });
}

// d, m, codes
void dequantize_q4_1(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  const float m = scale_at(block + 2);
  in_halves(numbers,
            [&](int half, int i) { return d * static_cast<float>(half_byte(block + 4, half, i)) + m; });
}

// d, fifth bits, codes
void dequantize_q5_0(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  in_halves(numbers, [&](int half, int i) {
    return d * static_cast<float>(five_bits(block + 2, block + 6, half, i) - 16);
  });
}

// d, m, fifth bits, codes
void dequantize_q5_1(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  const float m = scale_at(block + 2);
  in_halves(numbers, [&](int half, int i) {
    return d * static_cast<float>(five_bits(block + 4, block + 8, half, i)) + m;
  });
}

// Scales in low halves and minima in high halves, codes, d, e
void dequantize_q2_k(const unsigned char* block, float* numbers) {
  const float d = scale_at(block + 80);
  const float e = scale_at(block + 82);
  for (int group = 0; group < 16; ++group) {
    const int scale = block[group] & 15;
    const float least = e * static_cast<float>(block[group] >> 4);
    for (int i = 0; i < 16; ++i) {
      numbers[group * 16 + i] = d * static_cast<float>(scale * two_bits(block + 16, group, i)) - least;
    }
  }
}

// Third bits (a byte has those of its place in all groups of 32), low two bits, scales, d. Of the scales, 8
// bytes have low halves, a byte those of two that are 8 apart, and 4 bytes the upper two bits, a byte those
// of four that are 4 apart.
void dequantize_q3_k(const unsigned char* block, float* numbers) {
  const float d = scale_at(block + 108);
  const unsigned char* scales = block + 96;
  for (int group = 0; group < 16; ++group) {
    const int four = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
    const int two = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    const int scale = four + 16 * two - 32;
    for (int i = 0; i < 16; ++i) {
      const int third = block[group % 2 * 16 + i] >> (group / 2) & 1;
      const int code = two_bits(block + 32, group, i) + 4 * third;
      numbers[group * 16 + i] = d * static_cast<float>(scale * (code - 4));
    }
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

// Low four bits, high two bits, scales, d. Of each half's 128 numbers, i and i + 64 share a byte of low bits.
void dequantize_q6_k(const unsigned char* block, float* numbers) {
  const float d = scale_at(block + 208);
  for (int group = 0; group < 16; ++group) {
    const int scale = signed_byte(block[192 + group]);
    const unsigned char* low = block + group / 8 * 64 + group % 4 * 16;
    const int shift = group % 8 < 4 ? 0 : 4;
    for (int i = 0; i < 16; ++i) {
      const int code = (low[i] >> shift & 15) + 16 * two_bits(block + 128, group, i);
      numbers[group * 16 + i] = d * static_cast<float>(scale * (code - 32));
    }
  }
}

// d, codes
void dequantize_iq4_nl(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  in_halves(numbers,
            [&](int half, int i) { return d * static_cast<float>(kUneven[half_byte(block + 2, half, i)]); });
}

// d, upper two bits of the scales (a byte has those of four groups), their low halves (a byte has those of
// two), codes in groups of 32
void dequantize_iq4_xs(const unsigned char* block, float* numbers) {
  const float d = scale_at(block);
  for (int group = 0; group < 8; ++group) {
    const int four = block[4 + group / 2] >> (group % 2 * 4) & 15;
    const int two = block[2 + group / 4] >> (group % 4 * 2) & 3;
    const int scale = four + 16 * two - 32;
    const unsigned char* codes = block + 8 + group * 16;
    in_halves(numbers + group * 32, [&](int half, int i) {
      return d * static_cast<float>(scale * kUneven[half_byte(codes, half, i)]);
    });
  }
}

}  // namespace wkv
