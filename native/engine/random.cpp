#include <algorithm>

#include "engine/sampler.h"

namespace wkv {

double uniform(std::uint64_t seed, std::uint64_t draw) {
  std::uint32_t counter[4] = {static_cast<std::uint32_t>(draw), static_cast<std::uint32_t>(draw >> 32U), 0,
                              0};
  std::uint32_t key[2] = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)};
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * counter[2];
    const std::uint32_t next[4] = {
        static_cast<std::uint32_t>(b >> 32U) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32U) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    std::copy_n(next, 4, counter);
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  const std::uint64_t bits = (std::uint64_t{counter[0]} << 21U) ^ (std::uint64_t{counter[1]} >> 11U);
  return static_cast<double>(bits) * 0x1p-53;
}

}  // namespace wkv
