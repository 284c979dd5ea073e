#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "backend/cuda/draws.h"
#include "backend/cuda/graph.h"
#include "backend/cuda/layers.h"
#include "backend/cuda/layers_kernel.h"
#include "backend/cuda/memory.h"
#include "backend/cuda/weights.h"
#include "kernels/cuda/segment.h"

namespace wkv::cuda {

// The forward pass, with the buffers of one step. Throws Failed.
class Step {
 public:
  explicit Step(const WkvCudaShape& shape);

  // Checked by the caller: at most max_segments segments of max_tokens tokens in all, token ids below the
  // vocabulary's size, valid draws. Returns when the logits and tokens are there.
  void run(const Weights& weights, const std::vector<StepSegment>& segments, float* logits,
           const Stream& stream);

  // To be called where a weight is put anew: graphs, and the kernel of all layers, have the places of all
  // weights.
  void forget_weights() {
    graphs_.clear();
    layers_kernel_.reset();
    wanted_kernel_ = used_rwkv5_layers();
  }

 private:
  // A step's input, in one block that is copied at once.
  struct Input {
    Input(int tokens, int segments);
    void copy(const Stream& stream) const;

    int max_tokens;
    PinnedArray<unsigned char> host;
    DeviceArray<unsigned char> device;

    Segment* segments(unsigned char* block) const { return reinterpret_cast<Segment*>(block); }
    int* tokens(unsigned char* block) const;
    int* segment_of(unsigned char* block) const { return tokens(block) + max_tokens; }
    int* wanted(unsigned char* block) const { return segment_of(block) + max_tokens; }

    std::size_t segment_bytes;
  };

  void put_layers(const Call& call) const;
  // Null where the step is not one that is kept, or it cannot be.
  const Graph* graph_of(const Call& call, const Stream& stream);
  // Of the tokens that are wanted, the first `copied` ones' logits go to the host; of the others tokens are
  // drawn.
  void run_head(const Call& call, int wanted, int copied, float* logits, const Stream& stream) const;
  // logits_[i] = head LN(x[wanted[begin + i]]; ln_out)
  void put_logits(const Call& call, int begin, int count) const;

  WkvCudaShape shape_;
  Input input_;
  Draws draws_;
  LayerBuffers buffers_;
  std::unique_ptr<TimeMixing> time_mixing_;
  DeviceArray<float> logits_;
  std::optional<LayersKernel> layers_kernel_;       // of steps of one token
  LayersKind wanted_kernel_ = used_rwkv5_layers();  // until it was made, or does not suit
  // By how many sessions evaluate a token: generating repeats the same steps. A graph is made for a number
  // that comes for the second time, and the one that was not used for the longest time goes.
  struct Kept {
    std::unique_ptr<const Graph> graph;
    std::uint64_t used = 0;
    std::uint64_t next_try = 0;  // after one that failed
  };
  std::map<int, Kept> graphs_;
  std::uint64_t steps_ = 0;
};

}  // namespace wkv::cuda
