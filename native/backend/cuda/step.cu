#include "backend/cuda/step.h"

#include <algorithm>
#include <utility>

#include "kernels/layer_norm/cuda.h"

namespace wkv::cuda {

namespace {

// Tokens whose logits are computed together; bounds the memory for logits.
constexpr int kLogitsTokens = 64;
// A kernel's arguments are kept some hundred times in each.
constexpr std::size_t kMaxGraphs = 64;
// Until a graph that could not be made is tried again: to make one takes as long as some steps.
constexpr std::uint64_t kStepsBetweenTries = 1000;
constexpr const char* kComputingStep = "computing a step";

}  // namespace

Step::Input::Input(int tokens, int segments)
    : max_tokens(tokens), segment_bytes(static_cast<std::size_t>(segments) * sizeof(Segment)) {
  const std::size_t bytes = segment_bytes + 3 * static_cast<std::size_t>(tokens) * sizeof(int);
  host = PinnedArray<unsigned char>(bytes, kMakingRoom);
  device = DeviceArray<unsigned char>(bytes, kMakingRoom);
}

int* Step::Input::tokens(unsigned char* block) const { return reinterpret_cast<int*>(block + segment_bytes); }

void Step::Input::copy(const Stream& stream) const {
  check(cudaMemcpyAsync(device.data(), host.data(), host.size(), cudaMemcpyHostToDevice, stream.get()),
        "beginning a step");
}

Step::Step(const WkvCudaShape& shape)
    : shape_(shape),
      input_(shape.max_tokens, shape.max_segments),
      draws_(shape),
      buffers_(shape),
      time_mixing_(time_mixing_of(shape)),
      logits_(floats(std::min(shape.max_tokens, kLogitsTokens), shape.vocabulary)) {}

void Step::put_layers(const Call& call) const {
  call.embed();
  if (call.tokens == 1 && layers_kernel_) {
    layers_kernel_->put(call);
    return;
  }
  for (int layer = 0; layer < shape_.layers; ++layer) {
    time_mixing_->put(call, layer);
    call.channel_mixing(layer);
  }
}

void Step::put_logits(const Call& call, int begin, int count) const {
  const WeightMatrix& head = call.weights.matrix(WKV_CUDA_HEAD);
  norm_quantize({.x = buffers_.x.data(),
                 .rows = input_.wanted(input_.device.data()) + begin,
                 .norm = call.weights.norm(WKV_CUDA_LN_OUT_WEIGHT),
                 .input_scales = head.input_scales.data(),
                 .out = buffers_.mixed[0].of(head),
                 .count = count},
                call.stream);
  call.multiply({call.product(WKV_CUDA_HEAD, 0, buffers_.mixed[0], logits_)}, count);
}

const Graph* Step::graph_of(const Call& call, const Stream& stream) {
  if (call.tokens != call.segments) return nullptr;
  ++steps_;
  const auto found = graphs_.find(call.tokens);
  if (found == graphs_.end()) {
    if (graphs_.size() == kMaxGraphs) {
      const auto is_older = [](const auto& a, const auto& b) { return a.second.used < b.second.used; };
      graphs_.erase(std::min_element(graphs_.begin(), graphs_.end(), is_older));
    }
    graphs_[call.tokens].used = steps_;
    return nullptr;
  }
  Kept& kept = found->second;
  kept.used = steps_;
  if (kept.graph == nullptr && steps_ >= kept.next_try) {
    try {
      kept.graph = std::make_unique<const Graph>(stream, kComputingStep, [&] { put_layers(call); });
    } catch (const Failed&) {
      // Where there is no room for a graph, or the driver makes none of this, the step is done all the same.
      // Whether the GPU is lost, it says there once more.
      kept.next_try = steps_ + kStepsBetweenTries;
    }
  }
  return kept.graph.get();
}

void Step::run_head(const Call& call, int wanted, int copied, float* logits, const Stream& stream) const {
  const auto vocabulary = static_cast<std::size_t>(shape_.vocabulary);
  for (int begin = 0; begin < wanted; begin += kLogitsTokens) {
    const int count = std::min(kLogitsTokens, wanted - begin);
    put_logits(call, begin, count);
    const int to_host = std::clamp(copied - begin, 0, count);
    if (to_host > 0) {
      // The copy to memory that is not pinned would wait too, but without sleeping.
      stream.wait(kComputingStep);
      check(cudaMemcpyAsync(logits + static_cast<std::size_t>(begin) * vocabulary, logits_.data(),
                            static_cast<std::size_t>(to_host) * vocabulary * sizeof(float),
                            cudaMemcpyDeviceToHost, stream.get()),
            "copying logits");
    }
    if (to_host < count) {
      draws_.draw(logits_.data() + static_cast<std::size_t>(to_host) * vocabulary, begin + to_host - copied,
                  count - to_host, stream);
    }
  }
}

void Step::run(const Weights& weights, const std::vector<StepSegment>& segments, float* logits,
               const Stream& stream) {
  unsigned char* const on_device = input_.device.data();
  Call call{.shape = shape_,
            .weights = weights,
            .b = buffers_,
            .stream = stream.get(),
            .segments_of_step = input_.segments(on_device),
            .token_ids = input_.tokens(on_device),
            .segment_of = input_.segment_of(on_device)};
  unsigned char* const input = input_.host.data();
  int wanted = 0;
  for (const StepSegment& segment : segments) {
    input_.segments(input)[call.segments] = {segment.state, call.tokens, segment.count};
    for (int i = 0; i < segment.count; ++i) {
      const bool last = i + 1 == segment.count;
      if (segment.logits == WKV_CUDA_LOGITS_ALL || (segment.logits == WKV_CUDA_LOGITS_LAST && last)) {
        input_.wanted(input)[wanted++] = call.tokens;
      }
      input_.tokens(input)[call.tokens] = static_cast<int>(segment.tokens[i]);
      input_.segment_of(input)[call.tokens] = call.segments;
      ++call.tokens;
    }
    ++call.segments;
  }
  const int copied = wanted;
  int end = 0;
  for (const StepSegment& segment : segments) {
    end += segment.count;
    if (segment.draw != nullptr) input_.wanted(input)[wanted++] = end - 1;
  }
  draws_.begin(segments, stream);
  // No kernel of the step begins before this copy, and so before what was put on the stream until now is
  // done: those that begin early may read weights and states.
  input_.copy(stream);
  if (call.tokens == 1 && wanted_kernel_ != LayersKind::kNone) {
    const LayersKind kind = std::exchange(wanted_kernel_, LayersKind::kNone);
    try {
      layers_kernel_ = LayersKernel::of(kind, call, stream);
    } catch (const Failed& failed) {
      if (failed.code != WKV_CUDA_MEMORY) throw;
    }
  }
  const Graph* const graph = graph_of(call, stream);
  try {
    if (graph == nullptr || !graph->run(stream, kComputingStep)) put_layers(call);
    run_head(call, wanted, copied, logits, stream);
    draws_.copy(stream);
    check(cudaGetLastError(), kComputingStep);
    stream.wait(kComputingStep);
  } catch (Failed& failed) {
    // Whatever it was, states may be half written.
    failed.code = WKV_CUDA_LOST;
    throw;
  }
  draws_.deliver(segments);
}

}  // namespace wkv::cuda
