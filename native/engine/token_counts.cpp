#include "engine/token_counts.h"

#include <algorithm>
#include <utility>

namespace wkv {

void TokenCounts::reserve(std::size_t more) {
  const std::size_t size = entries_.size();
  // Twice as much, so that a token at a time does not copy all each time.
  if (entries_.capacity() - size < more) entries_.reserve(size + std::max(size, more));
}

void TokenCounts::count(std::uint32_t token, double decay, bool exempt) {
  auto own = std::lower_bound(entries_.begin(), entries_.end(), token,
                              [](const Entry& entry, std::uint32_t wanted) { return entry.token < wanted; });
  if (own == entries_.end() || own->token != token) own = entries_.insert(own, {token, 0});
  for (Entry& entry : entries_) entry.count *= decay;
  if (!exempt) own->count += 1;
}

TokenCounts TokenCounts::from(std::vector<Entry> entries) {
  TokenCounts counts;
  counts.entries_ = std::move(entries);
  return counts;
}

}  // namespace wkv
