#pragma once

// Finds two accesses to one byte, of different threads and at least one of them writing, that nothing puts in
// order: no barrier between them, or different clusters.
//
// Kernels compiled with -fsanitize=thread call hooks before each access (test/cuda/race_hooks.cpp, instead of
// the compiler's own library). Without it, only what the harness does itself is looked at. A shuffle orders
// nothing.

#include <cstddef>
#include <span>
#include <vector>

namespace wkv::cuda::simt {

struct Cluster;
struct Thread;

namespace races {

// A warp's time is cut into epochs, which end where its lanes meet. Of each warp of a cluster, the first
// epoch whose accesses are not known to be done.
using Seen = std::vector<int>;
void join(Seen& seen, const Seen& others);

void begin_launch();
void begin_cluster(Cluster& cluster);
void end_launch();

// Who meets has what all of them did behind it: the lanes of a warp or block, or a cluster.
void meet(std::span<Thread> threads);
void meet(Cluster& cluster);
// What those who wait for a copy of this thread's may count on: the copy, and what the thread did before it.
// (They count on what other lanes of its warp did, too: a race with that is not found.)
Seen of_copy(const Thread& thread);

void on_read(const void* place, std::size_t bytes, const void* instruction = nullptr);
void on_write(const void* place, std::size_t bytes, const void* instruction = nullptr);

}  // namespace races

}  // namespace wkv::cuda::simt
