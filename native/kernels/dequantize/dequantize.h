#pragma once

// Blocks of ggml's types: numbers of few bits that share scales in f16. Each function widens one block. A
// scale times a code is exact in f32, and there is one addition at most, so a result is the exact value,
// rounded once.
//
//   type   numbers  bytes  value of a number with the code q
//   q8_0        32     34  d q                      q from -128 to 127
//   q4_0        32     18  d (q - 8)                q from 0 to 15
//   q4_1        32     20  d q + m
//   q5_0        32     22  d (q - 16)               q from 0 to 31
//   q5_1        32     24  d q + m
//   q2_k       256     84  d s q - e n              s and n of 4 bits, for 16 numbers each; q from 0 to 3
//   q3_k       256    110  d s (q - 4)              s from -32 to 31, for 16 numbers each; q from 0 to 7
//   q4_k       256    144  d s q - e n              s and n of 6 bits, for 32 numbers each; q from 0 to 15
//   q5_k       256    176  d s q - e n              the same with q from 0 to 31
//   q6_k       256    210  d s (q - 32)             s from -128 to 127, for 16 numbers each; q from 0 to 63
//   iq4_nl      32     18  d t(q)                   t: 16 values from -127 to 113, closer around 0
//   iq4_xs     256    136  d s t(q)                 s from -32 to 31, for 32 numbers each

namespace wkv {

using Dequantize = void (*)(const unsigned char* block, float* numbers);

void dequantize_q8_0(const unsigned char* block, float* numbers);
void dequantize_q4_0(const unsigned char* block, float* numbers);
void dequantize_q4_1(const unsigned char* block, float* numbers);
void dequantize_q5_0(const unsigned char* block, float* numbers);
void dequantize_q5_1(const unsigned char* block, float* numbers);
void dequantize_q2_k(const unsigned char* block, float* numbers);
void dequantize_q3_k(const unsigned char* block, float* numbers);
void dequantize_q4_k(const unsigned char* block, float* numbers);
void dequantize_q5_k(const unsigned char* block, float* numbers);
void dequantize_q6_k(const unsigned char* block, float* numbers);
void dequantize_iq4_nl(const unsigned char* block, float* numbers);
void dequantize_iq4_xs(const unsigned char* block, float* numbers);

}  // namespace wkv
