#include "engine/lora_matrix.h"

#include "engine/stored_numbers.h"

namespace wkv {

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
        narrow({&number, 1}, type, matrix.place_of(output, input));
      }
    }
    parts.push_back(std::move(matrix));
  }
  numbers = {};
}

}  // namespace wkv
