#include "tokenizer/trie.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace wkv {

namespace {

using Bytes = std::span<const std::uint8_t>;

// A dense node may have this many slots for each of its children; it bounds the memory that hostile
// vocabularies can ask for.
constexpr std::size_t kSlotsPerChild = 16;

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

void check_offsets(Bytes bytes, std::span<const std::uint32_t> offsets) {
  if (offsets.size() < 2) {
    refuse("a vocabulary of no tokens");
  }
  if (bytes.size() > Trie::kMaxVocabularyBytes) {
    refuse("a vocabulary of " + std::to_string(bytes.size()) + " bytes; at most " +
           std::to_string(Trie::kMaxVocabularyBytes) + " are supported");
  }
  if (offsets.front() != 0 || offsets.back() != bytes.size()) {
    refuse("token offsets from " + std::to_string(offsets.front()) + " to " + std::to_string(offsets.back()) +
           ", expected from 0 to the number of bytes, " + std::to_string(bytes.size()));
  }
  for (std::size_t id = 0; id + 1 < offsets.size(); ++id) {
    if (offsets[id + 1] < offsets[id]) {
      refuse("token offsets out of order at token " + std::to_string(id));
    }
    if (offsets[id + 1] - offsets[id] > Trie::kMaxTokenBytes) {
      refuse("token " + std::to_string(id) + " has " + std::to_string(offsets[id + 1] - offsets[id]) +
             " bytes; at most " + std::to_string(Trie::kMaxTokenBytes) + " are supported");
    }
  }
}

}  // namespace

// Builds level by level from the sorted tokens, so that neither the depth of the trie costs stack nor the
// order of the vocabulary costs time.
class Trie::Builder {
 public:
  Builder(Bytes bytes, std::span<const std::uint32_t> offsets) : bytes_(bytes), offsets_(offsets) {}

  Trie build() {
    sort_tokens();
    trie_.size_ = offsets_.size() - 1;
    append(2);
    trie_.slots_[kRoot].flags = kNode;
    level_.push_back({0, sorted_.size(), kRoot});
    for (std::size_t depth = 0; !level_.empty(); ++depth) {
      next_level_.clear();
      for (const Range& range : level_) {
        add_children(range, depth);
      }
      std::swap(level_, next_level_);
    }
    trie_.slots_.shrink_to_fit();
    trie_.labels_.shrink_to_fit();
    trie_.tokens_.shrink_to_fit();
    return std::move(trie_);
  }

 private:
  // The sorted tokens that pass through one node.
  struct Range {
    std::size_t begin;
    std::size_t end;
    std::uint32_t slot;
  };

  [[nodiscard]] Bytes token(std::uint32_t id) const {
    return bytes_.subspan(offsets_[id], offsets_[id + 1] - offsets_[id]);
  }

  void sort_tokens() {
    for (std::uint32_t id = 0; id + 1 < offsets_.size(); ++id) {
      if (!token(id).empty()) {
        sorted_.push_back(id);
      }
    }
    if (sorted_.empty()) {
      refuse("a vocabulary without a single token that has bytes");
    }
    std::sort(sorted_.begin(), sorted_.end(), [this](std::uint32_t left, std::uint32_t right) {
      const Bytes a = token(left);
      const Bytes b = token(right);
      const int order = std::memcmp(a.data(), b.data(), std::min(a.size(), b.size()));
      if (order != 0) {
        return order < 0;
      }
      return a.size() != b.size() ? a.size() < b.size() : left < right;
    });
    for (std::size_t i = 1; i < sorted_.size(); ++i) {
      if (std::ranges::equal(token(sorted_[i - 1]), token(sorted_[i]))) {
        refuse("tokens " + std::to_string(sorted_[i - 1]) + " and " + std::to_string(sorted_[i]) +
               " have the same bytes");
      }
    }
  }

  // Adds empty slots and returns the index of the first.
  std::uint32_t append(std::size_t count) {
    const std::size_t first = trie_.slots_.size();
    trie_.slots_.resize(first + count);
    trie_.labels_.resize(first + count);
    trie_.tokens_.resize(first + count);
    return static_cast<std::uint32_t>(first);
  }

  // All tokens of `range` share their first `depth` bytes: those of its slot.
  void add_children(Range range, std::size_t depth) {
    if (token(sorted_[range.begin]).size() == depth) {  // the shortest sorts first
      trie_.slots_[range.slot].flags |= kToken;
      trie_.tokens_[range.slot] = sorted_[range.begin];
      ++range.begin;
    }
    if (range.begin == range.end) {
      return;
    }
    const auto byte_at = [&](std::size_t i) { return token(sorted_[i])[depth]; };
    const std::uint8_t lowest = byte_at(range.begin);
    const std::uint8_t highest = byte_at(range.end - 1);
    std::size_t count = 1;
    for (std::size_t i = range.begin + 1; i < range.end; ++i) {
      count += byte_at(i) != byte_at(i - 1) ? 1U : 0U;
    }
    const std::size_t span = std::size_t{highest} - lowest + 1;
    const bool sparse = span > count * kSlotsPerChild;
    const std::size_t slots = sparse ? count : span;
    const std::uint32_t children = append(slots);

    Slot& parent = trie_.slots_[range.slot];
    parent.children = children;
    parent.lowest = lowest;
    parent.last = static_cast<std::uint8_t>(slots - 1);
    parent.flags = static_cast<std::uint8_t>(parent.flags | (sparse ? kSparse : 0));

    std::uint32_t next_sparse = children;
    for (std::size_t begin = range.begin; begin < range.end;) {
      const std::uint8_t byte = byte_at(begin);
      std::size_t end = begin + 1;
      while (end < range.end && byte_at(end) == byte) {
        ++end;
      }
      const std::uint32_t slot = sparse ? next_sparse++ : children + (std::uint32_t{byte} - lowest);
      trie_.slots_[slot].flags = kNode;
      trie_.labels_[slot] = byte;
      next_level_.push_back({begin, end, slot});
      begin = end;
    }
  }

  Bytes bytes_;
  std::span<const std::uint32_t> offsets_;
  std::vector<std::uint32_t> sorted_;  // ids of the tokens that have bytes, in the order of their bytes
  std::vector<Range> level_;
  std::vector<Range> next_level_;
  Trie trie_;
};

Trie Trie::build(Bytes bytes, std::span<const std::uint32_t> offsets) {
  check_offsets(bytes, offsets);
  return Builder(bytes, offsets).build();
}

std::size_t Trie::memory() const {
  return slots_.capacity() * sizeof(Slot) + labels_.capacity() + tokens_.capacity() * sizeof(std::uint32_t);
}

inline std::uint32_t Trie::child(const Slot& parent, std::uint8_t byte) const {
  if ((parent.flags & kSparse) == 0) [[likely]] {
    const std::uint32_t offset = std::uint32_t{byte} - parent.lowest;  // wraps around below the lowest
    return offset <= parent.last ? parent.children + offset : kEmpty;
  }
  for (std::uint32_t slot = parent.children; slot <= parent.children + parent.last; ++slot) {
    if (labels_[slot] == byte) {
      return slot;
    }
  }
  return kEmpty;
}

std::size_t Trie::encode(Bytes text, std::vector<std::uint32_t>& tokens) const {
  std::size_t position = 0;
  while (position < text.size()) {
    Slot node = slots_[kRoot];
    std::uint32_t match = kEmpty;
    std::size_t end = position;
    for (std::size_t next = position; next < text.size();) {
      const std::uint32_t slot = child(node, text[next]);
      node = slots_[slot];
      if (node.flags == 0) {
        break;
      }
      ++next;
      if ((node.flags & kToken) != 0) {
        match = slot;
        end = next;
      }
    }
    if (match == kEmpty) {
      return position;
    }
    tokens.push_back(tokens_[match]);
    position = end;
  }
  return position;
}

}  // namespace wkv
