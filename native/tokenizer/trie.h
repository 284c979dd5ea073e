#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace wkv {

// The byte trie of a tokenizer whose whole algorithm is "the longest token that fits, left to right".
//
// Immutable after build(), so that any number of threads may read one instance.
//
// Layout: the children of a node lie side by side in one array of slots. A dense node covers every byte from
// its lowest to its highest child and finds a child by subtraction; the slots of bytes that are no child are
// empty. A node whose children are too far apart for that is sparse: its children lie in ascending order and
// are found by their labels. One step through the text is one 8-byte load in nearly all cases.
class Trie {
 public:
  // Longer tokens are refused: they bound how far encode() looks ahead of a match.
  static constexpr std::size_t kMaxTokenBytes = 256;
  // More bytes of tokens than this are refused: they bound the memory of a trie at about 60 bytes for each.
  static constexpr std::size_t kMaxVocabularyBytes = std::size_t{1} << 24;

  // bytes [offsets[size]]: all tokens one after the other; token i is bytes[offsets[i]] .. bytes[offsets[i +
  // 1]]. A token may be empty (an id without bytes): it is never produced. Throws std::invalid_argument where
  // offsets and bytes do not describe a vocabulary, where no token has bytes, where a token is too long, and
  // where two tokens are equal.
  static Trie build(std::span<const std::uint8_t> bytes, std::span<const std::uint32_t> offsets);

  // How many ids there are, those without bytes included.
  [[nodiscard]] std::size_t size() const { return size_; }

  // What the trie occupies, in bytes.
  [[nodiscard]] std::size_t memory() const;

  // Appends the ids of `text` to `tokens` and returns how many bytes were encoded: all of them, or less where
  // no token begins with the byte at that position. Takes time proportional to the length of the text times,
  // at worst, the length of the longest token.
  std::size_t encode(std::span<const std::uint8_t> text, std::vector<std::uint32_t>& tokens) const;

 private:
  struct Slot {
    std::uint32_t children = 0;  // index of the first child's slot
    std::uint8_t lowest = 0;     // dense: the byte of the first child
    std::uint8_t last = 0;       // slots of children, minus one
    std::uint8_t flags = 0;      // a sum of the following; 0 is an empty slot
  };
  static constexpr std::uint8_t kNode = 1;
  static constexpr std::uint8_t kToken = 2;  // a token ends here
  static constexpr std::uint8_t kSparse = 4;

  // Slot 0 stays empty: it is what a missing child is, and the "children" of a leaf.
  static constexpr std::uint32_t kEmpty = 0;
  static constexpr std::uint32_t kRoot = 1;

  class Builder;

  Trie() = default;
  [[nodiscard]] std::uint32_t child(const Slot& parent, std::uint8_t byte) const;

  std::vector<Slot> slots_;
  std::vector<std::uint8_t> labels_;   // [slots] the byte that leads to a slot
  std::vector<std::uint32_t> tokens_;  // [slots] the id that ends at a slot, where one does
  std::size_t size_ = 0;
};

}  // namespace wkv
