#include "engine/stored_numbers.h"

#include <cmath>
#include <cstring>
#include <string>

#include "engine/error.h"
#include "kernels/dequantize/dequantize.h"
#include "kernels/simd/half.h"

namespace wkv {

namespace {

std::uint16_t half_at(const unsigned char* elements, std::int64_t index) {
  std::uint16_t half;
  std::memcpy(&half, elements + index * 2, sizeof half);
  return half;
}

float float_at(const unsigned char* elements, std::int64_t index) {
  float value;
  std::memcpy(&value, elements + index * 4, sizeof value);
  return value;
}

Dequantize dequantize_of(StoredType type) {
  switch (type) {
    case StoredType::kQ8_0:
      return dequantize_q8_0;
    case StoredType::kQ4_0:
      return dequantize_q4_0;
    case StoredType::kQ4_1:
      return dequantize_q4_1;
    case StoredType::kQ5_0:
      return dequantize_q5_0;
    case StoredType::kQ5_1:
      return dequantize_q5_1;
    case StoredType::kQ2K:
      return dequantize_q2_k;
    case StoredType::kQ3K:
      return dequantize_q3_k;
    case StoredType::kQ4K:
      return dequantize_q4_k;
    case StoredType::kQ5K:
      return dequantize_q5_k;
    case StoredType::kQ6K:
      return dequantize_q6_k;
    case StoredType::kIq4Nl:
      return dequantize_iq4_nl;
    case StoredType::kIq4Xs:
      return dequantize_iq4_xs;
    case StoredType::kF32:
    case StoredType::kF16:
    case StoredType::kBf16:
      break;
  }
  return nullptr;
}

// The logarithm of what exp has made; of 0, which it makes of all numbers that are small enough, the one of a
// number that rounds to 0 again.
constexpr double kLogOfZero = -104;

double log_of(double number) { return number == 0 ? kLogOfZero : std::log(number); }

// NaN where `number` is none that the function could have made.
double before(Applied applied, double number) {
  switch (applied) {
    case Applied::kExp:
      return number >= 0 ? log_of(number) : std::nan("");
    case Applied::kNegativeExp:
      return number <= 0 ? log_of(-number) : std::nan("");
    case Applied::kExpOfNegativeExp:
      return number >= 0 && number <= 1 ? log_of(-log_of(number)) : std::nan("");
    case Applied::kNothing:
      break;
  }
  return number;
}

}  // namespace

float number_at(StoredType type, const unsigned char* elements, std::int64_t index) {
  if (type == StoredType::kF16) return f16_to_f32(half_at(elements, index));
  if (type == StoredType::kBf16) return bf16_to_f32(half_at(elements, index));
  return float_at(elements, index);
}

void widen(StoredType type, const unsigned char* elements, std::span<float> numbers) {
  const auto count = static_cast<std::int64_t>(numbers.size());
  if (type == StoredType::kF32) {
    std::memcpy(numbers.data(), elements, numbers.size_bytes());
  } else if (type == StoredType::kF16) {
    for (std::int64_t i = 0; i < count; ++i)
      numbers[static_cast<std::size_t>(i)] = f16_to_f32(half_at(elements, i));
  } else if (type == StoredType::kBf16) {
    for (std::int64_t i = 0; i < count; ++i)
      numbers[static_cast<std::size_t>(i)] = bf16_to_f32(half_at(elements, i));
  } else {
    const Dequantize dequantize = dequantize_of(type);
    const BlockForm& form = form_of(type);
    for (std::int64_t i = 0; i < count / form.numbers; ++i) {
      dequantize(elements + i * form.bytes, numbers.data() + i * form.numbers);
    }
  }
}

void narrow(std::span<const float> numbers, StoredType type, unsigned char* elements) {
  if (type == StoredType::kF32) {
    std::memcpy(elements, numbers.data(), numbers.size_bytes());
    return;
  }
  for (const float number : numbers) {
    const std::uint16_t half = type == StoredType::kF16 ? f32_to_f16(number) : f32_to_bf16(number);
    std::memcpy(elements, &half, sizeof half);
    elements += sizeof half;
  }
}

std::int64_t first_not_finite(StoredType type, const unsigned char* elements, std::int64_t count) {
  const std::uint32_t mask = type == StoredType::kF16 ? 0x7c00U : 0x7f80U;
  std::uint32_t any = 0;
  if (type == StoredType::kF32) {
    for (std::int64_t i = 0; i < count; ++i) {
      any |= static_cast<std::uint32_t>((bits_of(float_at(elements, i)) & 0x7f800000U) == 0x7f800000U);
    }
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      any |= static_cast<std::uint32_t>((half_at(elements, i) & mask) == mask);
    }
  }
  if (any == 0) return -1;
  for (std::int64_t i = 0; i < count; ++i) {
    const bool finite = type == StoredType::kF32
                            ? (bits_of(float_at(elements, i)) & 0x7f800000U) != 0x7f800000U
                            : (half_at(elements, i) & mask) != mask;
    if (!finite) return i;
  }
  return -1;
}

void refuse_numbers(const TensorEntry& tensor, Precision precision, const std::string& found) {
  std::string most = "at most 3.389e38";
  std::string instead = "'f32'";
  if (precision == Precision::kF16) {
    most = "at most 65504";
    instead = "'bf16' or 'f32'";
  } else if (precision == Precision::kInt8) {
    most = "numbers below 1e36";
  } else if (precision == Precision::kInt4) {
    most = "numbers up to 61.5";
    instead = "'int8'";
  }
  throw Error("ERR_WKV_UNSUPPORTED", "the tensor " + tensor.name + " holds numbers that " +
                                         name_of(precision) + " cannot; use weights: " + instead)
      .about(tensor.name, most, found);
}

void restore(const TensorEntry& tensor, std::int64_t index, std::span<float> numbers) {
  if (tensor.applied == Applied::kNothing && tensor.scale == 1) return;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const double own = before(tensor.applied, numbers[i]);
    const auto restored = static_cast<float>(own * static_cast<double>(tensor.scale));
    if (!std::isfinite(restored)) {
      const std::string function = name_of(tensor.applied);
      const bool is_none = std::isnan(own);
      const std::string place = " at element " + std::to_string(index + static_cast<std::int64_t>(i));
      throw Error("ERR_WKV_FORMAT",
                  "the tensor " + tensor.name + " holds " + std::to_string(numbers[i]) + place +
                      (is_none ? ", which " + function + " never gives" : ", too much for its scale"))
          .about(tensor.name,
                 is_none ? "results of " + function : "numbers that f32 can hold once they are scaled",
                 std::to_string(numbers[i]) + place);
    }
    numbers[i] = restored;
  }
}

}  // namespace wkv
