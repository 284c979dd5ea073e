#pragma once

// Kernels that nothing uses before they have been measured on a GPU. Each is compared with those in use, bit
// by bit, and measured beside them, by turns. Nobody has seen them on a GPU: they may hang it, so each is run
// by a process of its own, with a limit.

#include "gpu_check/library.h"
#include "gpu_check/report.h"

namespace wkv::gpu_check {

// How often each is measured, by turns with what is used instead.
constexpr int kRounds = 3;

// What is used while this lives, or is not.
class Use {
 public:
  Use(const Library& library, WkvCandidate candidate, bool use) : library_(library), candidate_(candidate) {
    library_.use(candidate_, use ? 1 : 0);
  }
  ~Use() { library_.use(candidate_, 0); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  const Library& library_;
  WkvCandidate candidate_;
};

// Products of prompts by clusters of blocks.
void try_clusters(const Library& tested, bool small, Report& report);
// All layers of a single token in one kernel, of one of its kinds.
void try_layers_kernel(const Library& tested, WkvCandidate candidate, bool small, Report& report);

}  // namespace wkv::gpu_check
