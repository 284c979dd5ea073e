// Barriers that count arrivals and bytes, and copies that arrive at them, of one block or of others in its
// cluster.

#include <cstring>

#include "simt/block.h"

namespace wkv::cuda::simt {

namespace {

constexpr std::size_t kBarrierBytes = 8;
constexpr int kMaxArrivals = (1 << 20) - 1;
constexpr std::int64_t kMaxBytes = (1 << 20) - 1;

// The same place in another block's shared memory.
unsigned char* place_in(const Block& block, const void* place) {
  return block.shared + (static_cast<const unsigned char*>(place) - current_block()->shared);
}

Barrier& barrier_at(const void* place) {
  const auto found = current_cluster()->barriers.find(place);
  if (found == current_cluster()->barriers.end()) fail("uses a barrier that is none");
  races::on_read(place, kBarrierBytes);
  return found->second;
}

// A block of the cluster that still runs.
Block& block_at(int rank) {
  auto& blocks = current_cluster()->blocks;
  if (rank < 0 || static_cast<std::size_t>(rank) >= blocks.size()) fail("reaches a block that is none");
  Block& block = blocks[static_cast<std::size_t>(rank)];
  if (block.has_ended()) fail("reaches a block that has ended");
  return block;
}

void complete_phase(Cluster& cluster, const void* place, Barrier& barrier) {
  if (barrier.missing > 0 || barrier.bytes != 0) return;
  ++barrier.phase;
  barrier.missing = barrier.arrivals;
  races::join(barrier.complete, barrier.arriving);
  for (Block& block : cluster.blocks) {
    for (Thread& each : block.threads) {
      if (each.state != State::kAtPhase || each.barrier != place) continue;
      each.state = State::kReady;
      cluster.somebody_is_ready = true;
    }
  }
}

}  // namespace

void init_barrier(void* place, int arrivals) {
  if (!is_aligned(place, kBarrierBytes) || !is_shared(*current_block(), place, kBarrierBytes)) {
    fail("makes a barrier of what is no place for one");
  }
  if (arrivals < 1 || arrivals > kMaxArrivals) fail("makes a barrier of " + std::to_string(arrivals));
  races::on_write(place, kBarrierBytes);
  Barrier barrier{};
  barrier.arrivals = barrier.missing = arrivals;
  current_cluster()->barriers.insert_or_assign(place, barrier);
}

void show_barriers() {
  for (auto& [place, barrier] : current_cluster()->barriers) {
    if (is_shared(*current_block(), place, kBarrierBytes)) barrier.shown = true;
  }
}

void arrive(void* own, int rank, int bytes) {
  void* const place = place_in(block_at(rank), own);
  Barrier& barrier = barrier_at(place);
  if (rank != current_thread()->place.rank && !barrier.shown) fail("reaches a barrier that is not shown");
  if (barrier.missing == 0) fail("comes to a barrier once too often");
  --barrier.missing;
  barrier.bytes += bytes;
  if (barrier.bytes > kMaxBytes) fail("expects more bytes than a barrier counts");
  races::join(barrier.arriving, current_thread()->seen);
  complete_phase(*current_cluster(), place, barrier);
}

void wait_barrier(void* place, int parity, int line) {
  Barrier& barrier = barrier_at(place);
  while (barrier.phase % 2 == static_cast<unsigned>(parity)) {
    current_thread()->barrier = place;
    wait(State::kAtPhase, line);
  }
  races::join(current_thread()->seen, barrier.complete);
}

void arrive_at_grid() {
  Barrier& barrier = current_cluster()->of_grid;
  --barrier.missing;
  races::join(barrier.arriving, current_thread()->seen);
  complete_phase(*current_cluster(), &barrier, barrier);
}

void wait_for_grid(unsigned phase, int line) {
  Barrier& barrier = current_cluster()->of_grid;
  while (barrier.phase < phase) {
    current_thread()->barrier = &barrier;
    wait(State::kAtPhase, line);
  }
  races::join(current_thread()->seen, barrier.complete);
}

void begin_bulk_copy(const BulkCopy& copy) {
  constexpr std::size_t kUnit = 16;
  if (!is_aligned(copy.shared, kUnit) || !is_aligned(copy.global, kUnit) || copy.bytes % kUnit != 0 ||
      copy.bytes == 0) {
    fail("copies to, from or of what is not aligned");
  }
  if (!is_shared(*current_block(), copy.shared, copy.bytes)) fail("copies to what is not shared memory");
  if (copy.mask == 0) fail("copies to no block");
  races::on_read(copy.global, copy.bytes);
  const auto* const from = static_cast<const unsigned char*>(copy.global);
  for (int rank = 0; copy.mask >> static_cast<unsigned>(rank) != 0; ++rank) {
    if ((copy.mask >> static_cast<unsigned>(rank)) % 2 == 0) continue;
    const Block& block = block_at(rank);
    unsigned char* const to = place_in(block, copy.shared);
    const void* const place = place_in(block, copy.barrier);
    if (!barrier_at(place).shown) fail("copies to a barrier that is not shown");
    races::on_write(to, copy.bytes);
    std::memset(to, 0xcd, copy.bytes);
    current_cluster()->copies.push_back(
        {to, {from, from + copy.bytes}, place, rank, races::of_copy(*current_thread())});
  }
}

std::string land(Cluster& cluster, std::size_t index) {
  const BulkCopyPart copy = std::move(cluster.copies[index]);
  cluster.copies.erase(cluster.copies.begin() + static_cast<std::ptrdiff_t>(index));
  if (cluster.blocks[static_cast<std::size_t>(copy.rank)].has_ended()) {
    return "a copy comes to a block that has ended";
  }
  std::memcpy(copy.to, copy.bytes.data(), copy.bytes.size());
  Barrier& barrier = cluster.barriers.at(copy.barrier);
  barrier.bytes -= static_cast<std::int64_t>(copy.bytes.size());
  races::join(barrier.arriving, copy.seen);
  if (barrier.bytes < -kMaxBytes) return "more bytes come to a barrier than it counts";
  complete_phase(cluster, copy.barrier, barrier);
  return "";
}

}  // namespace wkv::cuda::simt
