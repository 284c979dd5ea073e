#pragma once

#include <cstdint>

#include "engine/tensor_directory.h"

namespace wkv {

// What weight matrices are kept in.
enum class Precision : std::uint8_t { kF32, kF16, kBf16, kInt8, kInt4 };

inline const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::kF16:
      return "f16";
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
    case Precision::kInt4:
      return "int4";
    case Precision::kF32:
      break;
  }
  return "f32";
}

inline Precision precision_of(StoredType type) {
  return type == StoredType::kF32   ? Precision::kF32
         : type == StoredType::kF16 ? Precision::kF16
                                    : Precision::kBf16;
}

// Whether weights are whole numbers with scales, and activations are quantized as well.
inline bool is_quantized(Precision precision) {
  return precision == Precision::kInt8 || precision == Precision::kInt4;
}

// What rows that are looked up one at a time are kept as: as stored, blocks as f16.
inline StoredType row_type(StoredType stored) { return is_of_blocks(stored) ? StoredType::kF16 : stored; }

// What a file could store numbers of that precision as; not for quantized ones.
inline StoredType stored_type_of(Precision precision) {
  return precision == Precision::kF16    ? StoredType::kF16
         : precision == Precision::kBf16 ? StoredType::kBf16
                                         : StoredType::kF32;
}

}  // namespace wkv
