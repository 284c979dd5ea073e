#pragma once

// Kernels that nothing uses before they have been measured on a GPU. Each is compared with those in use, bit
// by bit, and measured beside them, by turns. Nobody has seen them on a GPU: they may hang it, so each is run
// by a process of its own, with a limit.

#include "gpu_check/library.h"
#include "gpu_check/report.h"

namespace wkv::gpu_check {

// Products of prompts by clusters of blocks.
void try_clusters(const Library& tested, bool small, Report& report);

// All layers of a single token in one kernel.
void try_layers_kernel(const Library& tested, bool small, Report& report);

}  // namespace wkv::gpu_check
