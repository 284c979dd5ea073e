#pragma once

// What the forward passes of all architectures have in common: a step of up to Network::kMaxTokens tokens of
// any number of sessions.

#include <cstddef>
#include <span>
#include <vector>

#include "engine/activation.h"
#include "engine/matrix_product.h"
#include "engine/model_weights.h"
#include "engine/network.h"

namespace wkv {

// Tokens whose logits are computed together; bounds the memory for logits.
inline constexpr std::size_t kLogitsTokens = 32;

struct StepBuffers : Workspace {
  StepBuffers(const ModelInfo& info, unsigned lanes);

  Activation x;       // the residual stream, [tokens][embedding]
  Activation normed;  // its layer norm
  Activation update;
  Activation hidden;  // [tokens][feed-forward width]
  Activation logits;
  MatrixScratch scratch;
};

// A mixture of a layer norm's output and that of the token before, which the token shift makes.
struct Shift {
  const std::vector<float>* mix;  // [embedding]
  Activation* output;
};

// The tokens of a step in a row, and for each where it belongs.
class Step {
 public:
  struct Place {
    std::size_t segment;
    std::size_t index;  // in its segment
  };
  // Of which of the two tokens a mix is the share: this one's in RWKV-4 and 5, that of the one before since.
  enum class ShareOf : unsigned char { kThis, kBefore };

  Step(const ModelInfo& info, const KernelTable& kernels, std::span<const Segment> segments,
       StepBuffers& buffers, ThreadPool& pool, unsigned lanes);

  // A part of a layer of a session's state, in the order of StateLayout::parts.
  float* part(std::size_t segment, std::size_t layer, std::size_t index) const {
    return segments[segment].state + layer * layer_numbers + part_offsets[index];
  }
  static constexpr std::size_t kAttX = 0;
  static constexpr std::size_t kFfnX = 1;
  static constexpr std::size_t kRecurrence = 2;

  template <class Task>
  void for_each_token(Task&& task) {
    // Element-wise work on few tokens is done before another thread would be awake.
    const bool small = places.size() * static_cast<std::size_t>(info.embedding) < 32'768;
    pool.run(small ? 1 : lanes, places.size(), [&](std::size_t token, unsigned) { task(token); });
  }

  // Calls task(segment, head) for all of them.
  template <class Task>
  void for_each_head(Task&& task) {
    const auto heads = static_cast<std::size_t>(info.heads);
    const std::size_t work = places.size() * info.state.parts[kRecurrence].count;
    pool.run(work < 200'000 ? 1 : lanes, segments.size() * heads,
             [&](std::size_t item, unsigned) { task(item / heads, item % heads); });
  }

  template <class Epilogue>
  void multiply(std::span<const Product> products, Epilogue&& epilogue) {
    wkv::multiply(kernels, pool, lanes, b.scratch, places.size(), products, epilogue);
  }
  void multiply(std::span<const Product> products) {
    multiply(products, [](std::size_t, std::size_t, int, int) {});
  }
  // x += weights input
  void add_product(const Matrix& weights, const Activation& input);

  // x = LN(embedding[token]; ln0)
  void embed(const OuterWeights& outer);
  // normed = LN(x)
  void normalize(const NormWeights& weights);
  // Each output = token shift of `normed`. `part` is where a state has the last token's `normed`.
  void shift(std::size_t part, std::size_t layer, ShareOf share, std::span<const Shift> shifts);
  // That of the token before, in the same segment or in the state.
  const float* before(std::size_t token, std::size_t part, std::size_t layer) const;
  // Puts each segment's last `normed` into its state.
  void remember(std::size_t part, std::size_t layer);

  // The logits of the tokens that were asked for: head LN(x; ln_out).
  void logits(const OuterWeights& outer, const LogitsSink& sink);

  const ModelInfo& info;
  const KernelTable& kernels;
  std::span<const Segment> segments;
  StepBuffers& b;
  ThreadPool& pool;
  unsigned lanes;
  std::size_t layer_numbers;
  std::vector<std::size_t> part_offsets;
  std::vector<Place> places;
  std::vector<std::size_t> first_token;
  std::vector<std::size_t> wanted;  // the tokens whose logits are asked for

 private:
  void norm(const NormWeights& weights, const float* x, float* output) const;
};

}  // namespace wkv
