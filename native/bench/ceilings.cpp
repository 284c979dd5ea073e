#include <atomic>
#include <cstdint>
#include <cstring>

#include "backend/cpu/memory.h"
#include "backend/cpu/thread_pool.h"
#include "bench/bench.h"
#include "kernels/compiler.h"

namespace wkv::bench {

namespace {

std::atomic<std::uint64_t> sink{0};

#if WKV_X64

__attribute__((target("avx2"))) std::uint64_t read_block(const unsigned char* p, std::size_t bytes,
                                                         std::size_t ahead) {
  __m256i sums[4] = {};
  for (std::size_t i = 0; i < bytes; i += 128) {
    if (ahead != 0) {
      __builtin_prefetch(p + i + ahead);
      __builtin_prefetch(p + i + ahead + 64);
    }
    for (std::size_t v = 0; v < 4; ++v) {
      const auto* vector = reinterpret_cast<const __m256i*>(p + i + v * 32);
      sums[v] = _mm256_xor_si256(sums[v], _mm256_load_si256(vector));
    }
  }
  const __m256i all =
      _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
  return static_cast<std::uint64_t>(_mm256_extract_epi64(all, 0)) ^
         static_cast<std::uint64_t>(_mm256_extract_epi64(all, 3));
}

#else

std::uint64_t read_block(const unsigned char* p, std::size_t bytes, std::size_t ahead) {
  std::uint64_t sums[8] = {};
  for (std::size_t i = 0; i < bytes; i += 64) {
    if (ahead != 0) __builtin_prefetch(p + i + ahead);
    std::uint64_t words[8];
    std::memcpy(words, p + i, sizeof words);
    for (std::size_t v = 0; v < 8; ++v) sums[v] ^= words[v];
  }
  std::uint64_t all = 0;
  for (const std::uint64_t sum : sums) all ^= sum;
  return all;
}

#endif

}  // namespace

double read_ceiling(unsigned threads, std::size_t bytes) {
  static Memory memory;
  if (memory.size() < bytes) {
    memory = Memory(bytes);
    auto* words = static_cast<std::uint64_t*>(memory.data());
    for (std::size_t i = 0; i < bytes / 8; ++i) words[i] = i * 0x9e3779b97f4a7c15U;  // no two pages alike
  }
  const auto* data = static_cast<const unsigned char*>(memory.data());
  constexpr std::size_t kBlock = std::size_t{1} << 18;
  double best = 0;
  for (const std::size_t ahead : {std::size_t{0}, std::size_t{1024}, std::size_t{2048}, std::size_t{4096}}) {
    const double time = seconds([&] {
      ThreadPool::process().run(threads, bytes / kBlock, [&](std::size_t block, unsigned) {
        sink += read_block(data + block * kBlock, kBlock, ahead);
      });
    });
    best = std::max(best, static_cast<double>(bytes) / time);
  }
  return best;
}

}  // namespace wkv::bench
