#pragma once

#include <vector>

#include "engine/matrix.h"

namespace wkv {

// The LoRA matrices, of low rank, by which RWKV-6 and RWKV-7 compute decays, mixes and gates. They are never
// quantized: little is gained, and much depends on them. Files have them the other way round, [inputs,
// outputs], and some have several in one tensor: [inputs, parts * outputs] or [parts, inputs, outputs].
struct LoraMatrix {
  // How the parts lie in the tensor.
  enum class Parts : unsigned char { kSideBySide, kOneAfterAnother };

  LoraMatrix() = default;
  LoraMatrix(int input_count, int output_count, int part_count = 1, Parts order = Parts::kSideBySide)
      : inputs(input_count), outputs(output_count), count(part_count), parts_order(order) {}

  // Bytes that the parts take.
  std::size_t size_in_bytes() const {
    return static_cast<std::size_t>(count) * Matrix::size_in_bytes(precision, outputs, inputs);
  }

  // Makes the parts from `numbers`, the tensor's, and lets those go. Throws std::bad_alloc.
  void pack();

  // The first part; null where the model has no such matrix.
  const Matrix* matrix() const { return parts.data(); }

  int inputs = 0;
  int outputs = 0;
  int count = 1;
  Parts parts_order = Parts::kSideBySide;
  Precision precision = Precision::kF32;  // f32, f16 or bf16
  std::vector<float> numbers;             // while it is loaded
  std::vector<Matrix> parts;              // [outputs, inputs]
};

}  // namespace wkv
