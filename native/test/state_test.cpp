#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/hash.h"
#include "engine/state.h"
#include "test/support/numbers.h"
#include "test/support/refusal.h"

using wkv::SessionState;
using wkv::StatePrecision;
using wkv::test::Floats;
using wkv::test::refusal;
using Bytes = std::vector<unsigned char>;

namespace {

constexpr StatePrecision kPrecisions[] = {StatePrecision::kF32, StatePrecision::kF16};

SessionState some_state(std::mt19937& random, bool with_logits = true) {
  SessionState state;
  state.layout = {2, {{"att_x", 6, 6}, {"ffn_x", 6, 6}, {"wkv", 3 * 4, 4}}};
  state.fingerprint = "0123456789abcdef0123456789abcdef";
  state.vocabulary = 11;
  state.numbers = std::make_shared<wkv::Memory>(state.layout.numbers() * sizeof(float));
  const Floats numbers = wkv::test::random_floats(random, state.layout.numbers(), -3, 3);
  std::copy(numbers.begin(), numbers.end(), state.numbers->floats());
  if (with_logits) {
    state.logits =
        std::make_shared<const std::vector<float>>(wkv::test::random_floats(random, state.vocabulary, -9, 9));
  }
  state.tokens = 0x123456789abcdU;
  state.seed = 0xfedcba9876543210U;
  state.draws = 77;
  state.counts = wkv::TokenCounts::from({{2, 0.0}, {3, 1.25}, {10, 1e-9}});
  return state;
}

Floats numbers_of(const SessionState& state) {
  return {state.numbers->floats(), state.numbers->floats() + state.layout.numbers()};
}

// Writes the checksum that the rest now has.
void seal(Bytes& bytes) {
  const std::uint64_t checksum = wkv::xxh64(bytes.data(), bytes.size() - 8);
  std::memcpy(bytes.data() + bytes.size() - 8, &checksum, 8);
}

template <class Number>
void put(Bytes& bytes, Number number) {
  const auto* p = reinterpret_cast<const unsigned char*>(&number);
  bytes.insert(bytes.end(), p, p + sizeof number);
}

void put_text(Bytes& bytes, std::string text, std::size_t size) {
  text.resize(size, '\0');
  bytes.insert(bytes.end(), text.begin(), text.end());
}

struct Part {
  std::string name;
  std::uint32_t count, group;
};

using Counts = std::vector<wkv::TokenCounts::Entry>;

// A state made by hand, as the format describes it, with any layout, payload and counts of the sampler.
Bytes forge(std::uint32_t precision, std::uint32_t layers, const std::vector<Part>& parts,
            std::uint32_t vocabulary, std::uint32_t has_logits, std::size_t payload,
            const Counts& counts = {}) {
  Bytes bytes;
  put_text(bytes, "WKVSTATE", 8);
  put(bytes, std::uint32_t{2});
  put(bytes, precision);
  put_text(bytes, "0123456789abcdef0123456789abcdef", 32);
  for (int i = 0; i < 3; ++i) put(bytes, std::uint64_t{0});  // tokens, seed, draws
  put(bytes, vocabulary);
  put(bytes, has_logits);
  put(bytes, layers);
  put(bytes, static_cast<std::uint32_t>(parts.size()));
  for (const Part& part : parts) {
    put_text(bytes, part.name, 16);
    put(bytes, part.count);
    put(bytes, part.group);
  }
  put(bytes, static_cast<std::uint32_t>(counts.size()));
  for (const auto& [token, count] : counts) {
    put(bytes, token);
    put(bytes, count);
  }
  bytes.resize(bytes.size() + payload + 8);
  seal(bytes);
  return bytes;
}

std::string code(const Bytes& bytes) {
  return refusal([&] { wkv::deserialize(bytes); }).code;
}

}  // namespace

TEST_SUITE("state") {
  TEST_CASE("takes over numbers that fit, and refuses any others") {
    std::mt19937 random(21);
    SessionState state = some_state(random, false);
    const Floats before = numbers_of(state);
    Floats numbers = wkv::test::random_floats(random, state.layout.numbers(), -3, 3);
    wkv::import_numbers(state, numbers);
    CHECK(numbers_of(state) == numbers);
    const Floats kept = numbers;
    for (const std::size_t size : {std::size_t{0}, numbers.size() - 1, numbers.size() + 1}) {
      const Floats other(size);
      const wkv::Error error = refusal([&] { wkv::import_numbers(state, other); });
      CHECK(error.code == "ERR_WKV_STATE");
      CHECK(error.found == std::to_string(size) + " values");
    }
    for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
      numbers[5] = bad;
      const wkv::Error error = refusal([&] { wkv::import_numbers(state, numbers); });
      CHECK(error.code == "ERR_WKV_STATE");
      CHECK(error.found == "another at 5 of state.values()");
    }
    CHECK(numbers_of(state) == kept);
    CHECK(before != kept);
  }

  TEST_CASE("f32 comes back exactly, with everything that continues the session") {
    std::mt19937 random(1);
    for (const bool with_logits : {true, false}) {
      const SessionState state = some_state(random, with_logits);
      const SessionState again = wkv::deserialize(wkv::serialize(state, StatePrecision::kF32));
      CHECK(wkv::test::bit_difference(numbers_of(again), numbers_of(state)) == "");
      CHECK(again.layout.has_shape_of(state.layout));
      CHECK(std::string(again.layout.parts[2].name) == "wkv");
      CHECK(again.fingerprint == state.fingerprint);
      CHECK(again.vocabulary == 11);
      CHECK(again.tokens == state.tokens);
      CHECK(again.seed == state.seed);
      CHECK(again.draws == state.draws);
      REQUIRE(again.counts.entries().size() == 3);
      for (std::size_t i = 0; i < 3; ++i) {
        CHECK(again.counts.entries()[i].token == state.counts.entries()[i].token);
        CHECK(again.counts.entries()[i].count == state.counts.entries()[i].count);
      }
      CHECK((again.logits != nullptr) == with_logits);
      if (with_logits) CHECK(*again.logits == *state.logits);
    }
  }

  TEST_CASE("a packed state takes half the memory, and is what its f16 form on disk is") {
    std::mt19937 random(3);
    const SessionState state = some_state(random);
    const SessionState rounded = wkv::deserialize(wkv::serialize(state, StatePrecision::kF16));
    SessionState packed = state;
    packed.pack();
    CHECK(packed.numbers == nullptr);
    CHECK(packed.bytes() == wkv::packed_bytes(state.layout));
    CHECK(wkv::serialize(packed, StatePrecision::kF16) == wkv::serialize(state, StatePrecision::kF16));
    CHECK(wkv::serialize(packed, StatePrecision::kF32) == wkv::serialize(rounded, StatePrecision::kF32));
    const SessionState copy = packed;
    packed.unshare();
    CHECK(packed.packed == nullptr);
    CHECK(wkv::test::bit_difference(numbers_of(packed), numbers_of(rounded)) == "");
    CHECK(copy.packed != nullptr);
    packed.pack();
    CHECK(std::memcmp(packed.packed->data(), copy.packed->data(), copy.bytes()) == 0);
  }

  TEST_CASE("f16 is as close as 11 bits of each number allow, group by group, and keeps the logits exact") {
    std::mt19937 random(2);
    for (const float scale : {1.0F, 1e30F, 3e38F / 3, 1e-30F, 1e-37F, 60000.0F}) {
      CAPTURE(scale);
      SessionState state = some_state(random);
      float* numbers = state.numbers->floats();
      for (std::size_t i = 0; i < state.layout.numbers(); ++i) numbers[i] *= scale;
      // One group of each kind: of zeros, with an outlier, of one sign.
      std::fill_n(numbers, 6, 0.0F);
      numbers[6] *= 1e-6F;
      const SessionState again = wkv::deserialize(wkv::serialize(state, StatePrecision::kF16));
      CHECK(*again.logits == *state.logits);
      const Floats before = numbers_of(state);
      // A half has 11 bits: half a unit is 2^-11 of the number where it is normal; below 2^-14 of 2^14, where
      // the largest half of the group lies at least, it is a fixed 2^-39 of the largest number as it is
      // stored.
      std::size_t begin = 0;
      for (const std::size_t size : {6U, 6U, 4U, 4U, 4U, 6U, 6U, 4U, 4U, 4U}) {
        const std::span<const float> actual(again.numbers->floats() + begin, size);
        const std::span<const float> expected(before.data() + begin, size);
        double largest = 0;
        for (const float number : actual) largest = std::max(largest, std::abs(static_cast<double>(number)));
        CHECK(wkv::test::beyond(actual, expected, [&](std::size_t i) {
                return std::max(0x1p-11 * std::abs(static_cast<double>(expected[i])), 0x1p-39 * largest);
              }) == "");
        begin += size;
      }
      CHECK(begin == state.layout.numbers());
    }
  }

  TEST_CASE("f16 of f16 changes nothing any more") {
    std::mt19937 random(3);
    const auto once = wkv::serialize(
        wkv::deserialize(wkv::serialize(some_state(random), StatePrecision::kF16)), StatePrecision::kF16);
    CHECK(wkv::serialize(wkv::deserialize(once), StatePrecision::kF16) == once);
  }

  TEST_CASE("f16 of f16 changes nothing, also where the largest number of a group is rounded up") {
    std::mt19937 random(22);
    const wkv::StateLayout layout{1, {{"wkv", 8, 8}}};
    // The least that f16 rounds up to 1, and its neighbours.
    const float least = 0x1.ffep-1F;
    for (const float largest : {std::nextafter(least, 0.0F), least, std::nextafter(least, 1.0F),
                                std::nextafter(1.0F, 0.0F), 1.0F}) {
      CAPTURE(largest);
      for (const int exponent : {0, 100, -95, -110, -111, -112, -120, -140}) {
        CAPTURE(exponent);
        for (int time = 0; time < 20; ++time) {
          Floats numbers = wkv::test::random_floats(random, 8, -1, 1);
          for (float& number : numbers)
            number = std::ldexp(number, exponent - static_cast<int>(random() % 30));
          numbers[random() % 8] = std::ldexp(largest, exponent);
          Bytes once(wkv::packed_bytes(layout));
          wkv::pack(layout, numbers.data(), once.data());
          Floats rounded(8);
          wkv::unpack(layout, once.data(), rounded.data());
          Bytes twice(once.size());
          wkv::pack(layout, rounded.data(), twice.data());
          CHECK(twice == once);
        }
      }
    }
  }

  TEST_CASE("the scale of the smallest numbers is no denormal, which threads may flush to zero") {
    const wkv::StateLayout layout{1, {{"wkv", 2, 2}}};
    const Floats numbers{0x1p-120F, -0x1p-121F};
    Bytes bytes(wkv::packed_bytes(layout));
    wkv::pack(layout, numbers.data(), bytes.data());
    float scale = 0;
    std::memcpy(&scale, bytes.data(), sizeof scale);
    CHECK(std::isnormal(scale));
    Floats again(2);
    wkv::unpack(layout, bytes.data(), again.data());
    CHECK(again == numbers);
  }

  TEST_CASE("every truncation and every extension is refused") {
    std::mt19937 random(4);
    for (const StatePrecision precision : kPrecisions) {
      const Bytes whole = wkv::serialize(some_state(random), precision);
      for (std::size_t size = 0; size < whole.size(); ++size) {
        Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        REQUIRE(code(part) == "ERR_WKV_STATE");
        if (size < 20) continue;
        seal(part);
        REQUIRE(code(part) == "ERR_WKV_STATE");
      }
      Bytes longer = whole;
      longer.push_back(0);
      CHECK(code(longer) == "ERR_WKV_STATE");
      seal(longer);
      CHECK(code(longer) == "ERR_WKV_STATE");
    }
  }

  TEST_CASE("every damaged bit is refused") {
    std::mt19937 random(5);
    for (const StatePrecision precision : kPrecisions) {
      Bytes bytes = wkv::serialize(some_state(random), precision);
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        for (unsigned bit = 0; bit < 8; ++bit) {
          bytes[i] = static_cast<unsigned char>(bytes[i] ^ (1U << bit));
          REQUIRE(code(bytes) == "ERR_WKV_STATE");
          bytes[i] = static_cast<unsigned char>(bytes[i] ^ (1U << bit));
        }
      }
      CHECK(code(bytes) == "none");
    }
  }

  TEST_CASE(
      "any byte changed on purpose, with its checksum, is refused or gives a state no larger than the "
      "bytes") {
    std::mt19937 random(6);
    for (const StatePrecision precision : kPrecisions) {
      const Bytes whole = wkv::serialize(some_state(random), precision);
      for (std::size_t i = 0; i + 8 < whole.size(); ++i) {
        for (const unsigned value :
             {0U, 1U, 2U, 0x7fU, 0x80U, 0xffU, whole[i] ^ 1U, whole[i] ^ 0x10U, whole[i] + 1U}) {
          Bytes bytes = whole;
          bytes[i] = static_cast<unsigned char>(value);
          seal(bytes);
          const wkv::Error error = refusal([&] {
            const SessionState state = wkv::deserialize(bytes);
            CHECK(state.numbers->size() == state.layout.numbers() * sizeof(float));
            CHECK(state.numbers->size() <= 2 * bytes.size());
            CHECK((state.logits == nullptr || state.logits->size() == state.vocabulary));
          });
          REQUIRE((error.code == "none" || error.code == "ERR_WKV_STATE"));
        }
      }
    }
  }

  TEST_CASE("layouts whose sizes overflow are refused") {
    constexpr auto k = [](unsigned power) { return static_cast<std::uint32_t>(std::uint64_t{1} << power); };
    // 8 parts of 2^31 numbers are 2^34, in 2^30 layers 2^64: nothing, in 64 bits.
    for (const std::uint32_t precision : {0U, 1U}) {
      for (const std::uint32_t group : {1U, 4U, k(16), k(31)}) {
        CAPTURE(group);
        const std::vector<Part> parts(8, {"wkv", k(31), group});
        CHECK(code(forge(precision, k(30), parts, 0, 0, 0)) == "ERR_WKV_STATE");
        CHECK(code(forge(precision, k(30), parts, 100'000, 1, 400'000)) == "ERR_WKV_STATE");
        CHECK(code(forge(precision, k(29), parts, 0, 0, 0)) == "ERR_WKV_STATE");
      }
      const std::uint32_t most = ~0U;
      CHECK(code(forge(precision, most, {{"wkv", most, most}}, most, 1, 100)) == "ERR_WKV_STATE");
      CHECK(code(forge(precision, most, std::vector<Part>(8, {"wkv", most, 1}), most, 1, 100)) ==
            "ERR_WKV_STATE");
    }
  }

  TEST_CASE("layouts of nothing, of unknown parts and of uneven groups are refused") {
    CHECK(code(forge(0, 1, {{"wkv", 4, 2}}, 0, 0, 16)) == "none");
    CHECK(code(forge(1, 1, {{"wkv", 4, 2}}, 0, 0, 16)) == "none");
    const auto found = [](std::uint32_t layers, const std::vector<Part>& parts, std::size_t payload) {
      return refusal([&] { wkv::deserialize(forge(0, layers, parts, 0, 0, payload)); }).found;
    };
    CHECK(found(0, {{"wkv", 4, 2}}, 0) == "0");
    CHECK(found(1, {}, 0) == "0");
    CHECK(found(1, std::vector<Part>(9, {"wkv", 1, 1}), 36) == "9");
    CHECK(found(1, {{"wkv", 0, 1}}, 0) == "0 in groups of 1");
    CHECK(found(1, {{"wkv", 4, 3}}, 16) == "4 in groups of 3");
    CHECK(found(1, {{"vkw", 4, 2}}, 16) == "vkw");
    // A part of group 0 is exact: floats in both precisions.
    CHECK(code(forge(0, 1, {{"pp", 4, 0}}, 0, 0, 16)) == "none");
    CHECK(code(forge(1, 1, {{"pp", 4, 0}}, 0, 0, 16)) == "none");
    CHECK(code(forge(1, 1, {{"pp", 4, 0}}, 0, 0, 12)) == "ERR_WKV_STATE");
    CHECK(code(forge(0, 1, {{"", 4, 2}}, 0, 0, 16)) == "ERR_WKV_STATE");
    CHECK(code(forge(0, 1, {{"sixteen letters!", 4, 2}}, 0, 0, 16)) == "ERR_WKV_STATE");
    CHECK(code(forge(2, 1, {{"wkv", 4, 2}}, 0, 0, 16)) == "ERR_WKV_STATE");
    CHECK(code(forge(0, 1, {{"wkv", 4, 2}}, 0, 2, 16)) == "ERR_WKV_STATE");
    CHECK(code(forge(0, 1, {{"wkv", 4, 2}}, 1, 1, 16)) == "ERR_WKV_STATE");
    // Logits of no vocabulary are no logits: nobody could sample from them.
    CHECK(code(forge(0, 1, {{"wkv", 4, 2}}, 0, 1, 16)) == "ERR_WKV_STATE");
  }

  TEST_CASE("counts of the sampler must be finite and not negative, of ascending tokens that there are") {
    const auto with = [](const Counts& counts) {
      return code(forge(0, 1, {{"wkv", 4, 2}}, 4, 0, 16, counts));
    };
    CHECK(with({{2, 0}, {3, 1.25}}) == "none");
    for (const double bad :
         {-1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
      CHECK(with({{0, bad}}) == "ERR_WKV_STATE");
    }
    CHECK(with({{4, 1}}) == "ERR_WKV_STATE");
    CHECK(with({{3, 1}, {3, 1}}) == "ERR_WKV_STATE");
    CHECK(with({{3, 1}, {2, 1}}) == "ERR_WKV_STATE");
  }

  TEST_CASE("numbers that are not finite are not written, among the logits neither") {
    std::mt19937 random(7);
    const SessionState state = some_state(random);
    const auto refused = [](const SessionState& broken, StatePrecision precision) {
      return refusal([&] { static_cast<void>(wkv::serialize(broken, precision)); });
    };
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (const StatePrecision precision : kPrecisions) {
        SessionState broken = state;
        broken.unshare();
        broken.numbers->floats()[17] = bad;
        CHECK(refused(broken, precision).code == "ERR_WKV_STATE");
        broken = state;
        auto logits = *state.logits;
        logits[10] = bad;
        broken.logits = std::make_shared<const std::vector<float>>(logits);
        CHECK(refused(broken, precision).message == "the state's logits are not finite");
      }
    }
    // The largest float is one, but f16 rounds it up to what no float can be.
    SessionState large = state;
    large.unshare();
    large.numbers->floats()[17] = std::numeric_limits<float>::max();
    CHECK(!wkv::serialize(large, StatePrecision::kF32).empty());
    CHECK(refused(large, StatePrecision::kF16).found == "another at 17 of state.values()");
  }

  TEST_CASE("numbers that are not finite are refused, among the logits too") {
    std::mt19937 random(7);
    const SessionState state = some_state(random);
    const auto with = [](Bytes bytes, std::size_t before_the_end, auto number) {
      std::memcpy(bytes.data() + bytes.size() - before_the_end, &number, sizeof number);
      seal(bytes);
      return bytes;
    };
    const std::size_t logits = state.vocabulary * sizeof(float) + 8;  // and the checksum
    const Bytes exact = wkv::serialize(state, StatePrecision::kF32);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      CHECK(code(with(exact, logits, bad)) == "ERR_WKV_STATE");
      CHECK(code(with(exact, logits + 4, bad)) == "ERR_WKV_STATE");
      CHECK_NOTHROW(wkv::deserialize(with(exact, logits + 4, 1.0F)));
    }
    const Bytes rounded = wkv::serialize(state, StatePrecision::kF16);
    for (const std::uint16_t bad : {std::uint16_t{0x7e00}, std::uint16_t{0x7c00}}) {
      CHECK(code(with(rounded, logits + 2, bad)) == "ERR_WKV_STATE");
      CHECK_NOTHROW(wkv::deserialize(with(rounded, logits + 2, std::uint16_t{0x3c00})));
    }
  }

  TEST_CASE("a name that goes on behind its end is refused") {
    std::mt19937 random(7);
    Bytes bytes = wkv::serialize(some_state(random), StatePrecision::kF32);
    const std::size_t name = 88;  // of the first part: "att_x", filled up with zeros
    REQUIRE(bytes[name + 4] == 'x');
    bytes[name + 6] = 'y';
    seal(bytes);
    CHECK(code(bytes) == "ERR_WKV_STATE");
  }

  TEST_CASE("the beginning and the version are checked and named") {
    std::mt19937 random(8);
    Bytes bytes = wkv::serialize(some_state(random), StatePrecision::kF32);
    bytes[8] = 3;
    seal(bytes);
    CHECK(refusal([&] { wkv::deserialize(bytes); }).found == "version 3");
    CHECK(refusal([] {
            wkv::deserialize(Bytes{'G', 'G', 'U', 'F', 0, 0, 0, 0, 0});
          }).code == "ERR_WKV_STATE");
    CHECK(refusal([] { wkv::deserialize({}); }).code == "ERR_WKV_STATE");
  }

  TEST_CASE("copies share their numbers until one is to be changed") {
    std::mt19937 random(9);
    SessionState first = some_state(random);
    const float* place = first.numbers->floats();
    first.unshare();
    CHECK(first.numbers->floats() == place);  // nobody to be protected from
    SessionState second = first;
    CHECK(second.numbers == first.numbers);
    second.unshare();
    CHECK(second.numbers != first.numbers);
    CHECK(wkv::test::bit_difference(numbers_of(second), numbers_of(first)) == "");
    const Floats before = numbers_of(first);
    second.numbers->floats()[0] += 1;
    CHECK(numbers_of(first) == before);
    CHECK(second.logits == first.logits);
  }
}
