#include "engine/state.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "engine/error.h"
#include "engine/hash.h"
#include "kernels/simd/half.h"

namespace wkv {

namespace {

constexpr char kMagic[8] = {'W', 'K', 'V', 'S', 'T', 'A', 'T', 'E'};
constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kNameBytes = 16;
constexpr std::size_t kFingerprintBytes = 32;
constexpr std::size_t kMaxParts = 8;
constexpr std::uint64_t kMaxNumbers = std::uint64_t{1} << 36;
// What JavaScript's numbers count exactly.
constexpr std::uint64_t kMaxTokens = (std::uint64_t{1} << 53) - 1;

class Writer {
 public:
  void bytes(const void* data, std::size_t size) {
    const auto* p = static_cast<const unsigned char*>(data);
    out.insert(out.end(), p, p + size);
  }
  template <class Number>
  void number(Number value) {
    bytes(&value, sizeof value);
  }
  void text(const std::string& value, std::size_t size) {
    std::string padded = value;
    padded.resize(size, '\0');
    bytes(padded.data(), size);
  }
  std::vector<unsigned char> out;
};

[[noreturn]] void refuse(const std::string& why, const std::string& expected, const std::string& found) {
  throw Error("ERR_WKV_STATE", "the bytes are no usable state: " + why).about({}, expected, found);
}

class Reader {
 public:
  explicit Reader(std::span<const unsigned char> bytes) : left_(bytes) {}

  std::span<const unsigned char> take(std::uint64_t size) {
    if (size > left_.size()) refuse("they end early", "more bytes", "the end");
    const auto part = left_.first(static_cast<std::size_t>(size));
    left_ = left_.subspan(static_cast<std::size_t>(size));
    return part;
  }
  template <class Number>
  Number number() {
    Number value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string text(std::size_t size) {
    const auto part = take(size);
    std::string value(part.begin(), part.end());
    const std::size_t end = std::min(value.find('\0'), value.size());
    if (value.find_first_not_of('\0', end) != std::string::npos) {
      refuse("a name goes on behind its end", "zeros", "others");
    }
    value.resize(end);
    return value;
  }
  std::size_t left() const { return left_.size(); }

 private:
  std::span<const unsigned char> left_;
};

// A power of two that brings the largest magnitude of the group, as f16, below 2^15. If it is rounded up to a
// power of two, that one counts: it is what is found when the numbers are packed again.
float scale_of(const float* values, std::size_t count) {
  float largest = 0;
  for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(values[i]));
  if (largest == 0.0F) return 1.0F;
  int exponent = 0;
  const float fraction = std::frexp(largest, &exponent);
  if (f16_to_f32(f32_to_f16(fraction)) == 1.0F) ++exponent;
  // A scale must be a normal float both ways.
  return std::ldexp(1.0F, std::clamp(exponent - 15, -126, 126));
}

// Calls visit(offset, count, exact) for every group of numbers, in order; a part that stays exact is one.
template <class Visitor>
void for_each_group(const StateLayout& layout, Visitor&& visit) {
  std::size_t offset = 0;
  for (std::uint32_t layer = 0; layer < layout.layers; ++layer) {
    for (const StatePart& part : layout.parts) {
      const bool exact = part.group == StatePart::kExact;
      const std::uint32_t group = exact ? part.count : part.group;
      for (std::uint32_t done = 0; done < part.count; done += group) {
        visit(offset, static_cast<std::size_t>(group), exact);
        offset += group;
      }
    }
  }
}

std::uint64_t payload_bytes(const StateLayout& layout, StatePrecision precision) {
  return precision == StatePrecision::kF32 ? std::uint64_t{layout.numbers()} * sizeof(float)
                                           : packed_bytes(layout);
}

// Of a packed state, wherever it is; else null. Throws as unshare.
std::shared_ptr<const Memory> packed_numbers(const SessionState& state) {
  if (state.device == nullptr || !state.device->is_packed()) return state.packed;
  auto packed = std::make_shared<Memory>(packed_bytes(state.layout), SessionState::kMapPackedFrom);
  state.device->read(packed->data());
  return packed;
}

std::size_t first_not_finite(const float* numbers, std::size_t count) {
  return static_cast<std::size_t>(
      std::find_if(numbers, numbers + count, [](float number) { return !std::isfinite(number); }) - numbers);
}

void require_finite(const float* numbers, std::size_t count) {
  const std::size_t bad = first_not_finite(numbers, count);
  if (bad == count) return;
  throw Error("ERR_WKV_STATE", "the state holds a number that is not finite")
      .about({}, "finite numbers", "another at " + std::to_string(bad) + " of state.values()");
}

// Refuses what read_numbers would.
void write_numbers(Writer& writer, const SessionState& state, StatePrecision precision) {
  SessionState copy = state;
  if (precision == StatePrecision::kF16) {
    copy.pack();
    writer.bytes(copy.packed->data(), copy.packed->size());
    // What rounding makes of the largest numbers may be infinite.
    copy.unshare();
  } else {
    if (copy.numbers == nullptr) copy.unshare();
    writer.bytes(copy.numbers->data(), copy.numbers->size());
  }
  require_finite(copy.numbers->floats(), state.layout.numbers());
}

void read_numbers(Reader& reader, SessionState& state, StatePrecision precision) {
  float* numbers = state.numbers->floats();
  const std::size_t count = state.layout.numbers();
  const auto payload = reader.take(payload_bytes(state.layout, precision));
  if (precision == StatePrecision::kF32) {
    std::memcpy(numbers, payload.data(), payload.size());
  } else {
    unpack(state.layout, payload.data(), numbers);
  }
  const std::size_t bad = first_not_finite(numbers, count);
  if (bad != count) {
    refuse("they hold a number that is not finite", "finite numbers", "number " + std::to_string(bad));
  }
}

void write_counts(Writer& writer, const TokenCounts& counts) {
  writer.number(static_cast<std::uint32_t>(counts.entries().size()));
  for (const TokenCounts::Entry& entry : counts.entries()) {
    writer.number(entry.token);
    writer.number(entry.count);
  }
}

TokenCounts read_counts(Reader& reader, std::uint32_t vocabulary) {
  const auto size = reader.number<std::uint32_t>();
  if (size > vocabulary) refuse("they count more tokens than there are", "fewer", std::to_string(size));
  std::vector<TokenCounts::Entry> entries;
  for (std::uint32_t i = 0; i < size; ++i) {
    const auto token = reader.number<std::uint32_t>();
    const auto count = reader.number<double>();
    const bool ascends = entries.empty() || token > entries.back().token;
    if (token >= vocabulary || !ascends || !(count >= 0) || !std::isfinite(count)) {
      refuse("the counts of their sampler make no sense",
             "ascending ids below " + std::to_string(vocabulary) + " and finite counts",
             "entry " + std::to_string(i));
    }
    entries.push_back({token, count});
  }
  return TokenCounts::from(std::move(entries));
}

StateLayout read_layout(Reader& reader) {
  StateLayout layout;
  layout.layers = reader.number<std::uint32_t>();
  const auto parts = reader.number<std::uint32_t>();
  if (layout.layers == 0) refuse("their layout has no layers", "at least 1", "0");
  if (parts == 0 || parts > kMaxParts) {
    refuse("their layout has a wrong number of parts", "1 to " + std::to_string(kMaxParts),
           std::to_string(parts));
  }
  std::uint64_t per_layer = 0;
  for (std::uint32_t i = 0; i < parts; ++i) {
    const std::string name = reader.text(kNameBytes);
    // Names of parts are literals elsewhere; only known ones are let in.
    const char* known = nullptr;
    for (const char* candidate : {"att_x", "ffn_x", "wkv", "aa", "bb", "pp"}) {
      if (name == candidate) known = candidate;
    }
    const auto count = reader.number<std::uint32_t>();
    const auto group = reader.number<std::uint32_t>();
    if (known == nullptr)
      refuse("a part of their layout is unknown", "att_x, ffn_x, wkv, aa, bb or pp", name);
    if (count == 0 || (group != StatePart::kExact && count % group != 0)) {
      refuse("the sizes of the part " + name + " make no sense", "some numbers in whole groups",
             std::to_string(count) + " in groups of " + std::to_string(group));
    }
    layout.parts.push_back({known, count, group});
    per_layer += count;
  }
  // Divided, because a product could overflow.
  if (per_layer > kMaxNumbers / layout.layers) refuse("they claim too many numbers", "at most 2^36", "more");
  return layout;
}

}  // namespace

std::shared_ptr<const std::vector<float>> SessionState::last_logits() const {
  if (!logits_on_device) return logits;
  return std::make_shared<const std::vector<float>>(device->read_logits());
}

void SessionState::unshare() {
  if (numbers == nullptr) {
    auto own = std::make_shared<Memory>(layout.numbers() * sizeof(float), kMapPackedFrom);
    if (const auto bytes = packed_numbers(*this)) {
      unpack(layout, static_cast<const unsigned char*>(bytes->data()), own->floats());
    } else {
      device->read(own->data());
    }
    logits = last_logits();
    logits_on_device = false;
    numbers = std::move(own);
    packed = nullptr;
    device = nullptr;
    return;
  }
  if (numbers.use_count() == 1) {
    // Whoever else held the numbers has finished reading them.
    std::atomic_thread_fence(std::memory_order_acquire);
    return;
  }
  auto own =
      std::make_shared<Memory>(numbers->size(), numbers->is_mapped() ? kMapPackedFrom : Memory::kMapFrom);
  std::memcpy(own->data(), numbers->data(), numbers->size());
  numbers = std::move(own);
}

void SessionState::move_to(const Network& network) {
  if (device != nullptr && network.owns(*device)) {
    if (device.use_count() > 1 || device->is_packed()) device = device->copy();
    return;
  }
  const std::shared_ptr<DeviceNumbers> own = network.create_numbers();
  if (own == nullptr) {
    unshare();
    return;
  }
  if (numbers == nullptr) unshare();
  own->write(numbers->floats());
  device = own;
  numbers = nullptr;
}

void SessionState::pack() {
  if (packed != nullptr) return;
  std::shared_ptr<const Memory> bytes = packed_numbers(*this);
  if (bytes == nullptr) {
    if (numbers == nullptr) unshare();
    auto own = std::make_shared<Memory>(packed_bytes(layout), kMapPackedFrom);
    wkv::pack(layout, numbers->floats(), static_cast<unsigned char*>(own->data()));
    bytes = std::move(own);
  }
  logits = last_logits();
  logits_on_device = false;
  packed = std::move(bytes);
  numbers = nullptr;
  device = nullptr;
}

void SessionState::pack(const Network& network) {
  if (device != nullptr && network.owns(*device)) {
    if (device->is_packed()) return;
    if (std::shared_ptr<DeviceNumbers> own = device->pack()) {
      device = std::move(own);
      return;
    }
  }
  pack();
}

std::size_t SessionState::bytes() const {
  if (numbers != nullptr) return numbers->size();
  if (packed != nullptr) return packed->size();
  return device->is_packed() ? packed_bytes(layout) : layout.numbers() * sizeof(float);
}

std::size_t packed_bytes(const StateLayout& layout) {
  std::size_t bytes = 0;
  for (const StatePart& part : layout.parts) {
    bytes += part.group == StatePart::kExact
                 ? std::size_t{part.count} * sizeof(float)
                 : std::size_t{part.count} * 2 + std::size_t{part.count / part.group} * sizeof(float);
  }
  return bytes * layout.layers;
}

void pack(const StateLayout& layout, const float* numbers, unsigned char* out) {
  for_each_group(layout, [&](std::size_t offset, std::size_t count, bool exact) {
    if (exact) {
      std::memcpy(out, numbers + offset, count * sizeof(float));
      out += count * sizeof(float);
      return;
    }
    const float scale = scale_of(numbers + offset, count);
    std::memcpy(out, &scale, sizeof scale);
    out += sizeof scale;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint16_t half = f32_to_f16(numbers[offset + i] / scale);
      std::memcpy(out, &half, sizeof half);
      out += sizeof half;
    }
  });
}

void unpack(const StateLayout& layout, const unsigned char* packed, float* numbers) {
  for_each_group(layout, [&](std::size_t offset, std::size_t count, bool exact) {
    if (exact) {
      std::memcpy(numbers + offset, packed, count * sizeof(float));
      packed += count * sizeof(float);
      return;
    }
    float scale;
    std::memcpy(&scale, packed, sizeof scale);
    packed += sizeof scale;
    for (std::size_t i = 0; i < count; ++i) {
      std::uint16_t half;
      std::memcpy(&half, packed, sizeof half);
      numbers[offset + i] = f16_to_f32(half) * scale;
      packed += sizeof half;
    }
  });
}

void import_numbers(SessionState& state, std::span<const float> numbers) {
  const std::size_t expected = state.layout.numbers();
  if (numbers.size() != expected) {
    throw Error("ERR_WKV_STATE", "the state is not of this model: it has another number of values")
        .about({}, std::to_string(expected) + " values", std::to_string(numbers.size()) + " values");
  }
  require_finite(numbers.data(), expected);
  std::memcpy(state.numbers->data(), numbers.data(), numbers.size_bytes());
}

std::vector<unsigned char> serialize(const SessionState& state, StatePrecision precision) {
  const std::shared_ptr<const std::vector<float>> last_logits = state.last_logits();
  const std::size_t logits = last_logits == nullptr ? 0 : last_logits->size();
  if (logits != 0 && first_not_finite(last_logits->data(), logits) != logits) {
    throw Error("ERR_WKV_STATE", "the state's logits are not finite").about({}, "finite numbers", "another");
  }
  Writer writer;
  writer.out.reserve(256 + kMaxParts * 32 + state.counts.entries().size() * 12 +
                     payload_bytes(state.layout, precision) + logits * sizeof(float));
  writer.bytes(kMagic, sizeof kMagic);
  writer.number(kVersion);
  writer.number(static_cast<std::uint32_t>(precision));
  writer.text(state.fingerprint, kFingerprintBytes);
  writer.number(state.tokens);
  writer.number(state.seed);
  writer.number(state.draws);
  writer.number(state.vocabulary);
  writer.number(static_cast<std::uint32_t>(logits == 0 ? 0 : 1));
  writer.number(state.layout.layers);
  writer.number(static_cast<std::uint32_t>(state.layout.parts.size()));
  for (const StatePart& part : state.layout.parts) {
    writer.text(part.name, kNameBytes);
    writer.number(part.count);
    writer.number(part.group);
  }
  write_counts(writer, state.counts);
  write_numbers(writer, state, precision);
  if (logits != 0) writer.bytes(last_logits->data(), logits * sizeof(float));
  writer.number(xxh64(writer.out.data(), writer.out.size()));
  return std::move(writer.out);
}

SessionState deserialize(std::span<const unsigned char> bytes) {
  if (bytes.size() < sizeof kMagic || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    refuse("they do not begin with WKVSTATE", "a state made by state.serialize()", "something else");
  }
  Reader reader(bytes);
  static_cast<void>(reader.take(sizeof kMagic));
  const auto version = reader.number<std::uint32_t>();
  if (version != kVersion) {
    refuse("they are of another version", "version " + std::to_string(kVersion),
           "version " + std::to_string(version));
  }
  // The checksum comes first: after it, whatever does not fit was made so, not damaged.
  if (reader.left() < sizeof(std::uint64_t)) refuse("they end early", "a checksum", "the end");
  const auto body = bytes.first(bytes.size() - sizeof(std::uint64_t));
  std::uint64_t checksum;
  std::memcpy(&checksum, body.data() + body.size(), sizeof checksum);
  if (checksum != xxh64(body.data(), body.size()))
    refuse("they are damaged", "a matching checksum", "another");

  const auto precision = reader.number<std::uint32_t>();
  if (precision > 1) refuse("their precision is unknown", "f32 or f16", std::to_string(precision));
  SessionState state;
  state.fingerprint = reader.text(kFingerprintBytes);
  state.tokens = reader.number<std::uint64_t>();
  if (state.tokens > kMaxTokens)
    refuse("they claim too many tokens", "at most 2^53 - 1", std::to_string(state.tokens));
  state.seed = reader.number<std::uint64_t>();
  state.draws = reader.number<std::uint64_t>();
  state.vocabulary = reader.number<std::uint32_t>();
  const auto has_logits = reader.number<std::uint32_t>();
  state.layout = read_layout(reader);
  state.counts = read_counts(reader, state.vocabulary);
  const std::uint64_t logits = has_logits != 0 ? state.vocabulary : 0;
  const std::uint64_t expected = payload_bytes(state.layout, static_cast<StatePrecision>(precision)) +
                                 logits * sizeof(float) + sizeof checksum;
  if (has_logits > 1 || (has_logits == 1 && logits == 0) || expected != reader.left()) {
    refuse("their length does not fit their layout", std::to_string(expected) + " bytes of numbers",
           std::to_string(reader.left()));
  }
  state.numbers = std::make_shared<Memory>(state.layout.numbers() * sizeof(float));
  read_numbers(reader, state, static_cast<StatePrecision>(precision));
  if (has_logits != 0) {
    auto values = std::make_shared<std::vector<float>>(static_cast<std::size_t>(logits));
    std::memcpy(values->data(), reader.take(logits * sizeof(float)).data(), logits * sizeof(float));
    if (first_not_finite(values->data(), values->size()) != values->size()) {
      refuse("their logits are not finite", "finite numbers", "another");
    }
    state.logits = std::move(values);
  }
  return state;
}

}  // namespace wkv
