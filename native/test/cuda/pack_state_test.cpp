#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "engine/state.h"
#include "kernels/pack_state/cuda.h"
#include "test/cuda/on_device.h"
#include "test/support/numbers.h"

using wkv::StateLayout;
using wkv::StatePart;
using wkv::test::Floats;
using wkv::test::OnDevice;
using Bytes = std::vector<unsigned char>;

namespace {

wkv::cuda::PackStateArguments arguments_of(const StateLayout& layout) {
  wkv::cuda::PackStateArguments arguments{};
  arguments.layers = static_cast<int>(layout.layers);
  for (const StatePart& part : layout.parts) {
    arguments.parts[arguments.count++] = {static_cast<int>(part.count), static_cast<int>(part.group)};
  }
  return arguments;
}

// Each group's numbers of another size, down to those that have no place in f16, and up to the largest.
Floats some_numbers(const StateLayout& layout, std::mt19937& random) {
  Floats numbers = wkv::test::random_floats(random, layout.numbers());
  std::size_t at = 0;
  int exponent = 0;
  int groups = 0;
  for (std::uint32_t layer = 0; layer < layout.layers; ++layer) {
    for (const StatePart& part : layout.parts) {
      const std::uint32_t group = part.group == StatePart::kExact ? part.count : part.group;
      for (std::uint32_t first = 0; first < part.count; first += group) {
        for (std::uint32_t i = 0; i < group; ++i) {
          float& number = numbers[at++];
          number = std::ldexp(number, exponent - static_cast<int>(random() % 30));
          // What is denormal counts as 0 on a GPU.
          if (std::fpclassify(number) == FP_SUBNORMAL) number = 0;
        }
        // In every third group the largest number is the least that f16 rounds up to a power of two, in the
        // others one that it just does not.
        const float least = 0x1.ffep-1F;
        const bool rounds_up = ++groups % 3 == 0;
        numbers[at - 1 - random() % group] =
            std::ldexp(rounds_up ? least : std::nextafter(least, 0.0F), exponent);
        exponent = exponent == 0 ? 127 : exponent == 127 ? -112 : exponent < 0 ? 3 : 0;
      }
    }
  }
  return numbers;
}

Bytes packed_on_gpu(const StateLayout& layout, const Floats& numbers) {
  OnDevice<float> from(numbers);
  OnDevice<std::uint16_t> to(wkv::packed_bytes(layout) / 2);
  wkv::cuda::PackStateArguments arguments = arguments_of(layout);
  arguments.numbers = from.data();
  arguments.packed = to.data();
  wkv::cuda::pack_state(arguments, nullptr);
  const auto* const bytes = reinterpret_cast<const unsigned char*>(to.data());
  return {bytes, bytes + wkv::packed_bytes(layout)};
}

Floats unpacked_on_gpu(const StateLayout& layout, const Bytes& packed) {
  OnDevice<std::uint16_t> from(packed.size() / 2);
  std::memcpy(from.data(), packed.data(), packed.size());
  OnDevice<float> to(layout.numbers());
  wkv::cuda::PackStateArguments arguments = arguments_of(layout);
  arguments.numbers = to.data();
  arguments.packed = from.data();
  wkv::cuda::unpack_state(arguments, nullptr);
  return to.values();
}

const StateLayout kLayouts[] = {
    {3, {{"att_x", 72, 72}, {"ffn_x", 72, 72}, {"wkv", 3 * 400, 400}}},
    // Groups of odd sizes, smaller than a block and larger.
    {2, {{"att_x", 15, 15}, {"ffn_x", 15, 15}, {"wkv", 5 * 9, 9}}},
    {1, {{"att_x", 301, 301}, {"ffn_x", 301, 301}, {"wkv", 2 * 64 * 64, 64 * 64}}},
    {2,
     {{"att_x", 21, 21},
      {"ffn_x", 21, 21},
      {"aa", 300, 300},
      {"bb", 300, 300},
      {"pp", 300, StatePart::kExact}}},
};

}  // namespace

TEST_SUITE("CUDA packed states") {
  TEST_CASE("have the bytes that pack() makes, and the numbers that unpack() makes of them") {
    wkv::test::in_every_order([](const std::string& order) {
      CAPTURE(order);
      std::mt19937 random(31);
      for (const StateLayout& layout : kLayouts) {
        CAPTURE(layout.parts.back().count);
        const Floats numbers = some_numbers(layout, random);
        Bytes packed(wkv::packed_bytes(layout));
        wkv::pack(layout, numbers.data(), packed.data());
        CHECK(packed_on_gpu(layout, numbers) == packed);
        Floats unpacked(layout.numbers());
        wkv::unpack(layout, packed.data(), unpacked.data());
        CHECK(wkv::test::bit_difference(unpacked_on_gpu(layout, packed), unpacked) == "");
      }
    });
  }

  TEST_CASE("of zeros are zeros, and a NaN is nothing that others are measured by") {
    const StateLayout& layout = kLayouts[0];
    Floats numbers(layout.numbers());
    CHECK(unpacked_on_gpu(layout, packed_on_gpu(layout, numbers)) == numbers);
    numbers[200] = std::numeric_limits<float>::quiet_NaN();
    numbers[201] = 0.75F;
    const Floats again = unpacked_on_gpu(layout, packed_on_gpu(layout, numbers));
    CHECK(std::isnan(again[200]));
    CHECK(again[201] == 0.75F);
  }
}
