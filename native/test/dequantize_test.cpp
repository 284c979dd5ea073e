#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "kernels/dequantize/dequantize.h"

using Bytes = std::vector<unsigned char>;
using Numbers = std::vector<float>;

namespace {

// Halves as they lie in a file.
const Bytes kOne = {0x00, 0x3c};
const Bytes kHalf = {0x00, 0x38};
const Bytes kMinusTwo = {0x00, 0xc0};
const Bytes kSmallest = {0x01, 0x00};  // 2^-24

Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Numbers numbers_of(wkv::Dequantize dequantize, const Bytes& block, std::size_t bytes, std::size_t count) {
  REQUIRE(block.size() == bytes);
  Numbers numbers(count, -1e9F);
  dequantize(block.data(), numbers.data());
  return numbers;
}

Bytes ascending(int first, int count, int step = 1) {
  Bytes bytes;
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<unsigned char>(first + i * step));
  return bytes;
}

}  // namespace

TEST_SUITE("dequantize") {
  TEST_CASE("q8_0: signed bytes times a scale") {
    const Bytes codes = joined({{0x00, 0x01, 0x7f, 0x80, 0xff}, Bytes(27, 0x02)});
    Numbers expected = {0, 0.5F, 63.5F, -64, -0.5F};
    expected.resize(32, 1);
    CHECK(numbers_of(wkv::dequantize_q8_0, joined({kHalf, codes}), 34, 32) == expected);
    // A scale that is subnormal in f16 is not in f32.
    CHECK(numbers_of(wkv::dequantize_q8_0, joined({kSmallest, Bytes(32, 0x03)}), 34, 32) ==
          Numbers(32, 3 * 0x1p-24F));
  }

  TEST_CASE("q4_0: low halves before high ones, 8 is zero") {
    // Byte i: i low, 15 - i high.
    const Bytes codes = ascending(0xf0, 16, -15);
    Numbers expected;
    for (int i = 0; i < 16; ++i) expected.push_back(static_cast<float>(-2 * (i - 8)));
    for (int i = 0; i < 16; ++i) expected.push_back(static_cast<float>(-2 * (7 - i)));
    CHECK(numbers_of(wkv::dequantize_q4_0, joined({kMinusTwo, codes}), 18, 32) == expected);
  }

  TEST_CASE("q4_1: a scale and an offset") {
    const Bytes codes = joined({{0x21, 0xf0}, Bytes(14, 0x00)});
    Numbers expected(32, 1);
    expected[0] = 1.5F;
    expected[16] = 2;
    expected[17] = 8.5F;
    CHECK(numbers_of(wkv::dequantize_q4_1, joined({kHalf, kOne, codes}), 20, 32) == expected);
  }

  TEST_CASE("q5_0: bit i of four bytes is the fifth of number i, 16 is zero") {
    const Bytes fifth = {0x01, 0x80, 0x02, 0x80};  // numbers 0, 15, 17 and 31
    const Bytes codes = joined({{0x0f}, Bytes(14, 0x00), {0xf3}});
    Numbers expected(32, -16);
    expected[0] = 15;
    expected[15] = 3;
    expected[17] = 0;
    expected[31] = 15;
    CHECK(numbers_of(wkv::dequantize_q5_0, joined({kOne, fifth, codes}), 22, 32) == expected);
  }

  TEST_CASE("q5_1: the same with an offset instead") {
    const Bytes fifth = {0x02, 0x00, 0x01, 0x00};  // numbers 1 and 16
    const Bytes codes = joined({{0x10, 0x05}, Bytes(14, 0x00)});
    Numbers expected(32, -2);
    expected[1] = 8.5F;
    expected[16] = 6.5F;
    CHECK(numbers_of(wkv::dequantize_q5_1, joined({kHalf, kMinusTwo, fifth, codes}), 24, 32) == expected);
  }

  TEST_CASE("q2_k: sixteen groups with scales and minima of four bits, four numbers a byte of codes") {
    Bytes groups = ascending(0, 16);  // scales 0 to 15
    groups[15] = 0x7f;                // 15, and a minimum of 7
    Bytes codes(64, 0x00);
    codes[0] = 0xe4;   // numbers 0, 32, 64, 96: 0, 1, 2, 3
    codes[31] = 0x1b;  // numbers 31, 63, 95, 127: 3, 2, 1, 0
    codes[32] = 0x40;  // number 128 + 96: 1
    codes[63] = 0x80;  // number 128 + 127: 2
    Numbers expected(256, 0);
    for (std::size_t i = 240; i < 256; ++i) expected[i] = -7;
    expected[32] = 0.5F * 2;
    expected[64] = 0.5F * 4 * 2;
    expected[96] = 0.5F * 6 * 3;
    expected[31] = 0.5F * 1 * 3;
    expected[63] = 0.5F * 3 * 2;
    expected[95] = 0.5F * 5;
    expected[224] = 0.5F * 14;
    expected[255] = 0.5F * 15 * 2 - 7;
    CHECK(numbers_of(wkv::dequantize_q2_k, joined({groups, codes, kHalf, kOne}), 84, 256) == expected);
  }

  TEST_CASE("q3_k: three bits from two places, sixteen scales of six bits, 32 and 4 are zero") {
    // Lower bits 1 to 8 and 0 to 7; with 2 above the first eight these are scales from 1 to 8 and -32 to -25.
    Bytes low;
    for (int i = 0; i < 8; ++i) low.push_back(static_cast<unsigned char>((i + 1) | i << 4));
    const Bytes high(4, 0x0a);
    Bytes third(32, 0xff);
    Bytes codes(64, 0x00);
    third[0] = 0x7e;   // number 0 and number 224 have none
    third[5] = 0xfb;   // number 69 has none
    codes[0] = 0xc1;   // number 0: 1, number 96: 3
    codes[5] = 0x20;   // number 69: 2
    codes[63] = 0xc0;  // number 255: 3
    Numbers expected(256, 0);
    expected[0] = -2.0F * 1 * (1 - 4);
    expected[96] = -2.0F * 7 * 3;
    expected[69] = -2.0F * 5 * (2 - 4);
    expected[224] = -2.0F * -26 * -4;
    expected[255] = -2.0F * -25 * 3;
    CHECK(numbers_of(wkv::dequantize_q3_k, joined({third, codes, low, high, kMinusTwo}), 110, 256) ==
          expected);
  }

  TEST_CASE("q3_k: a byte has the upper bits of four scales that are four apart") {
    const Bytes low(8, 0x00);
    const Bytes high = {0xe4, 0x1b, 0x02, 0x80};
    const int twos[] = {0, 3, 2, 0, 1, 2, 0, 0, 2, 1, 0, 0, 3, 0, 0, 2};
    const Bytes codes(64, 0x55);  // all codes 1 + 4
    Numbers expected;
    for (int i = 0; i < 256; ++i) expected.push_back(static_cast<float>(16 * twos[i / 16] - 32));
    CHECK(numbers_of(wkv::dequantize_q3_k, joined({Bytes(32, 0xff), codes, low, high, kOne}), 110, 256) ==
          expected);
  }

  TEST_CASE("q4_k: eight groups with scales and minima of six bits") {
    // Scales 1, 2, 3, 63 and 4, 33, 0, 18; minima 0, 1, 63, 5 and 16, 0, 47, 2.
    const Bytes groups = {
        1,    0x82, 3,    0x7f,  // the first scales, above them the upper bits of the last: 0, 2, 0, 1
        0x40, 0x01, 0xbf, 0x05,  // the first minima, above them those of the last: 1, 0, 2, 0
        0x04, 0x01, 0xf0, 0x22   // the lower bits of the last scales and, above them, minima
    };
    // Group 0 and 1 in the first 32 bytes, and so on: codes 1 and 2, 3 and 4, 5 and 6, 15 and 8.
    const Bytes codes = joined({Bytes(32, 0x21), Bytes(32, 0x43), Bytes(32, 0x65), Bytes(32, 0x8f)});
    const float scales[] = {1, 2, 3, 63, 4, 33, 0, 18};
    const float minima[] = {0, 1, 63, 5, 16, 0, 47, 2};
    const float each[] = {1, 2, 3, 4, 5, 6, 15, 8};
    Numbers expected;
    for (int i = 0; i < 256; ++i) {
      expected.push_back(scales[i / 32] * each[i / 32] - 0.5F * minima[i / 32]);
    }
    CHECK(numbers_of(wkv::dequantize_q4_k, joined({kOne, kHalf, groups, codes}), 144, 256) == expected);
  }

  TEST_CASE("q4_k: a number's place in its group is its byte's") {
    const Bytes groups = {1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1};
    const Bytes codes = joined({ascending(0, 16), Bytes(111, 0x00), {0xa0}});
    const Numbers numbers = numbers_of(wkv::dequantize_q4_k, joined({kOne, kOne, groups, codes}), 144, 256);
    for (std::size_t i = 0; i < 16; ++i) CHECK(numbers[i] == static_cast<float>(i));
    CHECK(numbers[223] == 0);
    CHECK(numbers[255] == 10);
  }

  TEST_CASE("q5_k: bit g of byte i is the fifth of number i of group g") {
    const Bytes groups = {1, 2, 3, 4, 1, 0, 0, 0, 5, 6, 7, 8};
    Bytes fifth(32, 0x00);
    fifth[0] = 0x81;
    fifth[31] = 0x04;
    const Bytes codes = joined({{0x2f}, Bytes(127, 0x00)});
    Numbers expected(256, 0);
    for (std::size_t i = 0; i < 32; ++i) expected[i] = -1;
    expected[0] = 31 - 1;
    expected[32] = 2 * 2;
    expected[224] = 8 * 16;
    expected[2 * 32 + 31] = 3 * 16;
    CHECK(numbers_of(wkv::dequantize_q5_k, joined({kOne, kOne, groups, fifth, codes}), 176, 256) == expected);
  }

  TEST_CASE("q6_k: six bits from two places, sixteen signed scales, 32 is zero") {
    Bytes low(128, 0x00);
    Bytes high(64, 0x00);
    Bytes scales = ascending(1, 16);
    scales[15] = 0x80;     // -128
    low[0] = 0x5f;         // number 0: 15, number 64: 5
    low[33] = 0x21;        // number 33: 1, number 97: 2
    low[64 + 63] = 0xe0;   // number 128 + 127: 14
    high[0] = 0x03;        // number 0: 3
    high[1] = 0x84;        // number 33: 1, number 97: 2
    high[32 + 31] = 0xc0;  // number 128 + 127: 3
    Numbers expected;
    for (int i = 0; i < 256; ++i) {
      expected.push_back(static_cast<float>(-32 * 0.5 * (i / 16 == 15 ? -128 : i / 16 + 1)));
    }
    expected[0] = 0.5F * 1 * (15 + 48 - 32);
    expected[64] = 0.5F * 5 * (5 - 32);
    expected[33] = 0.5F * 3 * (1 + 16 - 32);
    expected[97] = 0.5F * 7 * (2 + 32 - 32);
    expected[255] = 0.5F * -128 * (14 + 48 - 32);
    CHECK(numbers_of(wkv::dequantize_q6_k, joined({low, high, scales, kHalf}), 210, 256) == expected);
  }

  TEST_CASE("iq4_nl: codes stand for sixteen uneven values") {
    const float values[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    // Byte i: i low, 15 - i high.
    const Bytes codes = ascending(0xf0, 16, -15);
    Numbers expected;
    for (int i = 0; i < 16; ++i) expected.push_back(0.5F * values[i]);
    for (int i = 0; i < 16; ++i) expected.push_back(0.5F * values[15 - i]);
    CHECK(numbers_of(wkv::dequantize_iq4_nl, joined({kHalf, codes}), 18, 32) == expected);
  }

  TEST_CASE("iq4_xs: the same in eight groups with scales of six bits, 32 is zero") {
    // Lower bits 1, 2, 3, ..., 8; upper ones 0, 1, 2, 3, 3, 2, 1, 0.
    const Bytes high = {0xe4, 0x1b};
    const Bytes low = {0x21, 0x43, 0x65, 0x87};
    const float scales[] = {1 - 32, 18 - 32, 35 - 32, 52 - 32, 53 - 32, 38 - 32, 23 - 32, 8 - 32};
    Bytes codes(128, 0x88);     // ones
    codes[0] = 0x80;            // number 0: -127
    codes[16 * 7 + 15] = 0xf8;  // number 255: 113
    Numbers expected;
    for (int i = 0; i < 256; ++i) expected.push_back(-2 * scales[i / 32]);
    expected[0] = -2.0F * -31 * -127;
    expected[255] = -2.0F * -24 * 113;
    CHECK(numbers_of(wkv::dequantize_iq4_xs, joined({kMinusTwo, high, low, codes}), 136, 256) == expected);
  }
}
