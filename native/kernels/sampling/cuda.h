#pragma once

// Drawing tokens on the GPU: what engine/sampler.h says of sample(), with its default order of steps and
// without typical_p, on logits that are already there.

#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

constexpr int kMaxDrawnVocabulary = 1 << 20;

// The token's logit becomes logit - penalty + bias, in double precision and then a float again.
struct LogitEdit {
  std::uint32_t token;
  float bias;
  double penalty;
};

// One draw.
struct DrawRow {
  float* kept;                     // [vocabulary], takes the logits as they are
  const LogitEdit* edits;          // each token once
  const std::uint32_t* forbidden;  // never drawn; each token once
  int edit_count;
  int forbidden_count;
  std::uint32_t top_k;  // 0: all
  double random;        // in [0, 1)
  double top_p;         // 1: all
  double min_log;       // ln min_p; -infinity: all
  double inverse;       // 1 / temperature, finite; 0: the most probable token is drawn
};

struct DrawArguments {
  float* logits;  // [count][vocabulary]; afterwards they are worth nothing
  const DrawRow* rows;
  std::int32_t* tokens;  // [count]; -1 where there is none to draw
  int count;
  int vocabulary;  // at most kMaxDrawnVocabulary
};
void draw(const DrawArguments& arguments, cudaStream_t stream);

}  // namespace wkv::cuda
