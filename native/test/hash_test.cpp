#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "engine/hash.h"

namespace {

std::uint64_t hash_of(std::string_view text) { return wkv::xxh64(text.data(), text.size()); }

// XXH64 straight from its specification (xxHash 0.1.1), byte by byte, without a thought for speed.
class SlowXxh64 {
 public:
  static std::uint64_t of(const std::vector<unsigned char>& input) {
    std::size_t at = 0;
    std::uint64_t accumulator = kPrime5;
    if (input.size() >= 32) {
      std::uint64_t v1 = kPrime1 + kPrime2;
      std::uint64_t v2 = kPrime2;
      std::uint64_t v3 = 0;
      std::uint64_t v4 = 0 - kPrime1;
      for (; at + 32 <= input.size(); at += 32) {
        v1 = round(v1, little_endian(input, at, 8));
        v2 = round(v2, little_endian(input, at + 8, 8));
        v3 = round(v3, little_endian(input, at + 16, 8));
        v4 = round(v4, little_endian(input, at + 24, 8));
      }
      accumulator = rotate(v1, 1) + rotate(v2, 7) + rotate(v3, 12) + rotate(v4, 18);
      accumulator = merge(merge(merge(merge(accumulator, v1), v2), v3), v4);
    }
    accumulator += input.size();
    for (; input.size() - at >= 8; at += 8) {
      accumulator ^= round(0, little_endian(input, at, 8));
      accumulator = rotate(accumulator, 27) * kPrime1 + kPrime4;
    }
    if (input.size() - at >= 4) {
      accumulator ^= little_endian(input, at, 4) * kPrime1;
      accumulator = rotate(accumulator, 23) * kPrime2 + kPrime3;
      at += 4;
    }
    for (; at < input.size(); ++at) {
      accumulator ^= input[at] * kPrime5;
      accumulator = rotate(accumulator, 11) * kPrime1;
    }
    accumulator = (accumulator ^ (accumulator >> 33U)) * kPrime2;
    accumulator = (accumulator ^ (accumulator >> 29U)) * kPrime3;
    return accumulator ^ (accumulator >> 32U);
  }

 private:
  // The specification gives the primes in decimal.
  static constexpr std::uint64_t kPrime1 = 11400714785074694791U;
  static constexpr std::uint64_t kPrime2 = 14029467366897019727U;
  static constexpr std::uint64_t kPrime3 = 1609587929392839161U;
  static constexpr std::uint64_t kPrime4 = 9650029242287828579U;
  static constexpr std::uint64_t kPrime5 = 2870177450012600261U;

  static std::uint64_t rotate(std::uint64_t value, unsigned bits) {
    return (value << bits) | (value >> (64 - bits));
  }
  static std::uint64_t round(std::uint64_t accumulator, std::uint64_t lane) {
    return rotate(accumulator + lane * kPrime2, 31) * kPrime1;
  }
  static std::uint64_t merge(std::uint64_t accumulator, std::uint64_t lane) {
    return (accumulator ^ round(0, lane)) * kPrime1 + kPrime4;
  }
  static std::uint64_t little_endian(const std::vector<unsigned char>& input, std::size_t at,
                                     std::size_t size) {
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;) value = value << 8U | input[at + i];
    return value;
  }
};

}  // namespace

TEST_SUITE("xxh64") {
  TEST_CASE("gives the published values") {
    CHECK(hash_of("") == 0xef46db3751d8e999U);
    CHECK(hash_of("a") == 0xd24ec4f1a98c6e5bU);
    CHECK(hash_of("abc") == 0x44bc2cf5ad770999U);
  }

  TEST_CASE("agrees with the specification for every length up to 200, at every alignment") {
    std::vector<unsigned char> bytes(208);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i * 131 + (i >> 3U));
    int wrong = 0;
    for (std::size_t size = 0; size <= 200; ++size) {
      for (std::size_t shift = 0; shift < 8; ++shift) {
        const std::vector<unsigned char> input(bytes.begin() + static_cast<std::ptrdiff_t>(shift),
                                               bytes.begin() + static_cast<std::ptrdiff_t>(shift + size));
        wrong += wkv::xxh64(bytes.data() + shift, size) != SlowXxh64::of(input);
      }
    }
    CHECK(wrong == 0);
  }
}
