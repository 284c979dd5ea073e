// What a warp's instructions compute, and copies in the background.

#include <cstring>
#include <span>

#include "simt/block.h"
#include "simt/races.h"
#include "kernels/simd/half.h"

namespace wkv::cuda::simt {

namespace {

int byte_of(std::uint32_t word, int index) {
  return static_cast<std::int8_t>(static_cast<std::uint8_t>(word >> (8 * index)));
}

// What was done before is in order with what follows.
void pass(const void* const*) {
  const std::size_t first = static_cast<std::size_t>(current_thread()->place.thread) / kLanes * kLanes;
  races::meet(std::span(current_block()->threads).subspan(first, kLanes));
}

struct Shuffled {
  std::uint32_t value;
  int mask;
  std::uint32_t* result;
};

void shuffle(const void* const* lanes) {
  const auto of = [&](int lane) { return static_cast<const Shuffled*>(lanes[lane]); };
  for (int lane = 0; lane < kLanes; ++lane) *of(lane)->result = of((lane ^ of(lane)->mask) % kLanes)->value;
}

// A product of some rows of bytes with 8 tokens. `weight(row, column)` and
// `code(token, column)` find an operand, `sum(row, token)` the place that it is added to.
template <class Weight, class Code, class Sum>
void multiply(int rows, int columns, Weight weight, Code code, Sum sum) {
  for (int row = 0; row < rows; ++row) {
    for (int token = 0; token < 8; ++token) {
      std::int32_t products = 0;
      for (int column = 0; column < columns; ++column) products += weight(row, column) * code(token, column);
      sum(row, token) += products;
    }
  }
}

void multiply_m16n8k32(const void* const* lanes) {
  const auto of = [&](int lane) -> const Mma16832& { return *static_cast<const Mma16832*>(lanes[lane]); };
  multiply(
      16, 32,
      [&](int row, int column) {
        return byte_of(of(row % 8 * 4 + column % 16 / 4).weights[row / 8 + column / 16 * 2], column % 4);
      },
      [&](int token, int column) {
        return byte_of(of(token * 4 + column % 16 / 4).codes[column / 16], column % 4);
      },
      [&](int row, int token) -> std::int32_t& {
        return of(row % 8 * 4 + token / 2).sums[row / 8 * 2 + token % 2];
      });
}

void multiply_m8n8k16(const void* const* lanes) {
  const auto of = [&](int lane) -> const Mma8816& { return *static_cast<const Mma8816*>(lanes[lane]); };
  multiply(
      8, 16, [&](int row, int column) { return byte_of(of(row * 4 + column / 4).weights, column % 4); },
      [&](int token, int column) { return byte_of(of(token * 4 + column / 4).codes, column % 4); },
      [&](int row, int token) -> std::int32_t& { return of(row * 4 + token / 2).sums[token % 2]; });
}

void distribute(const void* const* lanes) {
  const auto of = [&](int lane) -> const Rows& { return *static_cast<const Rows*>(lanes[lane]); };
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < 4; ++i) of(lane).words[i] = of(8 * i + lane / 4).row[lane % 4];
  }
}

}  // namespace

void sync_warp(int line) { meet_warp(pass, nullptr, line); }

std::uint32_t shuffle_xor(std::uint32_t value, int mask, int line) {
  std::uint32_t result = 0;
  const Shuffled lane{value, mask, &result};
  meet_warp(shuffle, &lane, line);
  return result;
}

void mma_m16n8k32(const Mma16832& lane, int line) { meet_warp(multiply_m16n8k32, &lane, line); }
void mma_m8n8k16(const Mma8816& lane, int line) { meet_warp(multiply_m8n8k16, &lane, line); }
void distribute_rows(const Rows& lane, int line) { meet_warp(distribute, &lane, line); }

void begin_copy(void* shared, const void* global, std::size_t bytes) {
  Thread& self = *current_thread();
  auto* const to = static_cast<unsigned char*>(shared);
  if (!is_shared(*current_block(), to, bytes)) fail("copies to what is not shared memory");
  if (!is_aligned(shared, bytes) || !is_aligned(global, bytes)) {
    fail("copies to or from a place that is not aligned");
  }
  races::on_read(global, bytes);
  races::on_write(shared, bytes);
  Copy copy{to, bytes, {}, self.batch};
  std::memcpy(copy.bytes.data(), global, bytes);
  if (architecture() < 80) {
    std::memcpy(to, copy.bytes.data(), bytes);
    return;
  }
  std::memset(to, 0xcd, bytes);
  self.copies.push_back(copy);
}

void commit_copies() { ++current_thread()->batch; }

void wait_copies(int pending) {
  Thread& self = *current_thread();
  std::erase_if(self.copies, [&](const Copy& copy) {
    if (copy.batch >= self.batch - pending) return false;
    // Here at the earliest others may read them, in order with what follows.
    races::on_write(copy.to, copy.count);
    std::memcpy(copy.to, copy.bytes.data(), copy.count);
    self.shown = false;
    return true;
  });
}

float from_f16(std::uint16_t half) { return f16_to_f32(half); }
std::uint16_t to_f16(float value) { return f32_to_f16(value); }

}  // namespace wkv::cuda::simt
