#include "engine/token_counts.h"

#include <algorithm>
#include <utility>

namespace wkv {

void TokenCounts::take_in(std::uint32_t token, double decay, bool exempt) {
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
