#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/precision.h"
#include "engine/tensor_directory.h"

namespace wkv {

// One number of a type without blocks.
float number_at(StoredType type, const unsigned char* elements, std::int64_t index);

// As many numbers as `numbers` has, in whole blocks.
void widen(StoredType type, const unsigned char* elements, std::span<float> numbers);

// Rounds numbers to a type without blocks.
void narrow(std::span<const float> numbers, StoredType type, unsigned char* elements);

// Index of the first NaN or infinity, or -1; of a type without blocks.
std::int64_t first_not_finite(StoredType type, const unsigned char* elements, std::int64_t count);

// Refuses, with ERR_WKV_UNSUPPORTED, a tensor whose numbers are too large to be kept as `precision`.
[[noreturn]] void refuse_numbers(const TensorEntry& tensor, Precision precision, const std::string& found);

// Takes back what the file's writer did to a tensor's numbers. Throws ERR_WKV_FORMAT where they are none that
// it could have made, with the index of the first of them in the tensor.
void restore(const TensorEntry& tensor, std::int64_t index, std::span<float> numbers);

}  // namespace wkv
