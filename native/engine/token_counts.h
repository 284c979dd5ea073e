#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace wkv {

// How often each token has been generated lately, as ChatRWKV counts: each token that is generated multiplies
// all counts by the decay and then adds one to its own. An exempt token adds nothing, but it is there from
// then on with a count of 0, which the presence penalty does not tell from others.
class TokenCounts {
 public:
  struct Entry {
    std::uint32_t token;
    double count;
  };

  // In ascending order of tokens.
  std::span<const Entry> entries() const { return entries_; }

  // Makes room: then so many tokens are counted without allocating. Throws std::bad_alloc.
  void reserve(std::size_t more);

  // Throws std::bad_alloc, and has changed nothing then.
  void count(std::uint32_t token, double decay, bool exempt);

  // Entries in ascending order of tokens, as entries() gave them.
  static TokenCounts from(std::vector<Entry> entries);

 private:
  std::vector<Entry> entries_;
};

}  // namespace wkv
