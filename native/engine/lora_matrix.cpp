#include "engine/lora_matrix.h"

#include <cstring>

#include "kernels/simd/half.h"

namespace wkv {

namespace {

void store(StoredType type, float number, unsigned char* place) {
  if (type == StoredType::kF32) {
    std::memcpy(place, &number, sizeof number);
    return;
  }
  const std::uint16_t half = type == StoredType::kF16 ? f32_to_f16(number) : f32_to_bf16(number);
  std::memcpy(place, &half, sizeof half);
}

}  // namespace

void LoraMatrix::pack() {
  const StoredType type = stored_type_of(precision);
  for (int part = 0; part < count; ++part) {
    Matrix matrix(precision, outputs, inputs);
    for (int input = 0; input < inputs; ++input) {
      const auto row = static_cast<std::size_t>(parts_order == Parts::kSideBySide ? input * count + part
                                                                                  : part * inputs + input);
      for (int output = 0; output < outputs; ++output) {
        const float number =
            numbers[row * static_cast<std::size_t>(outputs) + static_cast<std::size_t>(output)];
        store(type, number, matrix.place_of(output, input));
      }
    }
    parts.push_back(std::move(matrix));
  }
  numbers = {};
}

}  // namespace wkv
