#include <doctest/doctest.h>

#include <cstring>

#include "engine/lora_matrix.h"
#include "kernels/simd/half.h"

using wkv::LoraMatrix;
using wkv::Matrix;
using wkv::Precision;
using Parts = wkv::LoraMatrix::Parts;

namespace {

float element(const Matrix& matrix, int row, int column) {
  const unsigned char* place = const_cast<Matrix&>(matrix).place_of(row, column);
  if (matrix.precision == Precision::kF32) {
    float number;
    std::memcpy(&number, place, sizeof number);
    return number;
  }
  std::uint16_t half;
  std::memcpy(&half, place, sizeof half);
  return matrix.precision == Precision::kF16 ? wkv::f16_to_f32(half) : wkv::bf16_to_f32(half);
}

}  // namespace

TEST_SUITE("LoRA matrix") {
  TEST_CASE("each part is turned round, wherever it lies in the tensor") {
    // Larger than a panel in both directions; element (part, input, output) is a number that every type has.
    constexpr int kInputs = 19;
    constexpr int kOutputs = 6;
    constexpr int kParts = 3;
    const auto number = [](int part, int input, int output) {
      return static_cast<float>(part * 64 + input * 3 + output);
    };
    for (const Parts order : {Parts::kSideBySide, Parts::kOneAfterAnother}) {
      for (const Precision precision : {Precision::kF32, Precision::kF16, Precision::kBf16}) {
        LoraMatrix lora(kInputs, kOutputs, kParts, order);
        lora.precision = precision;
        if (order == Parts::kSideBySide) {
          for (int input = 0; input < kInputs; ++input) {
            for (int part = 0; part < kParts; ++part) {
              for (int output = 0; output < kOutputs; ++output)
                lora.numbers.push_back(number(part, input, output));
            }
          }
        } else {
          for (int part = 0; part < kParts; ++part) {
            for (int input = 0; input < kInputs; ++input) {
              for (int output = 0; output < kOutputs; ++output)
                lora.numbers.push_back(number(part, input, output));
            }
          }
        }
        const std::size_t bytes = lora.size_in_bytes();
        lora.pack();
        CHECK(lora.numbers.empty());
        REQUIRE(lora.parts.size() == kParts);
        std::size_t taken = 0;
        for (int part = 0; part < kParts; ++part) {
          const Matrix& matrix = lora.parts[static_cast<std::size_t>(part)];
          CHECK((matrix.rows == kOutputs && matrix.columns == kInputs && matrix.precision == precision));
          taken += matrix.data.size();
          for (int input = 0; input < kInputs; ++input) {
            for (int output = 0; output < kOutputs; ++output) {
              REQUIRE(element(matrix, output, input) == number(part, input, output));
            }
          }
        }
        CHECK(taken == bytes);
      }
    }
  }
}
