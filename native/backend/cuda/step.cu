#include "backend/cuda/step.h"

#include <algorithm>

#include "kernels/gated_norm/cuda.h"
#include "kernels/gemm_int8/cuda.h"
#include "kernels/quantize/cuda.h"
#include "kernels/token_shift/cuda.h"
#include "kernels/wkv5/cuda.h"

namespace wkv::cuda {

namespace {

// Tokens whose logits are computed together; bounds the memory for logits.
constexpr int kLogitsTokens = 64;
// A kernel's arguments are kept some hundred times in each.
constexpr std::size_t kMostGraphs = 64;
constexpr const char* kBuffers = "making room for a step";
constexpr const char* kComputing = "computing a step";

int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

DeviceArray<float> floats(int tokens, int channels) {
  return {static_cast<std::size_t>(tokens) * static_cast<std::size_t>(channels), kBuffers};
}

}  // namespace

Step::Quantized::Quantized(int tokens, int columns)
    : stride(round_up(tokens, kTokenStep)),
      codes(static_cast<std::size_t>(stride) * static_cast<std::size_t>(round_up(columns, 16)), kBuffers),
      // No matrix of this width has more groups.
      scales(codes.size() / 16, kBuffers),
      offsets(codes.size() / 16, kBuffers) {}

QuantizedTokens Step::Quantized::of(const WeightMatrix& matrix) const {
  return {codes.data(), scales.data(), offsets.data(), stride, matrix.columns, matrix.group};
}

Step::Input::Input(int tokens, int segments)
    : most_tokens(tokens), segment_bytes(static_cast<std::size_t>(segments) * sizeof(Segment)) {
  const std::size_t bytes = segment_bytes + 3 * static_cast<std::size_t>(tokens) * sizeof(int);
  host = PinnedArray<unsigned char>(bytes, kBuffers);
  device = DeviceArray<unsigned char>(bytes, kBuffers);
}

int* Step::Input::tokens(unsigned char* block) const { return reinterpret_cast<int*>(block + segment_bytes); }

void Step::Input::copy(const Stream& stream) const {
  check(cudaMemcpyAsync(device.data(), host.data(), host.size(), cudaMemcpyHostToDevice, stream.get()),
        "beginning a step");
}

Step::Step(const WkvCudaShape& shape)
    : shape_(shape),
      input_(shape.most_tokens, shape.most_segments),
      draws_(shape),
      x_(floats(shape.most_tokens, shape.channels)),
      r_(floats(shape.most_tokens, shape.heads * shape.head_size)),
      k_(floats(shape.most_tokens, shape.heads * shape.head_size)),
      v_(floats(shape.most_tokens, shape.heads * shape.head_size)),
      g_(floats(shape.most_tokens, shape.heads * shape.head_size)),
      y_(floats(shape.most_tokens, shape.heads * shape.head_size)),
      gate_(floats(shape.most_tokens, shape.channels)),
      hidden_(floats(shape.most_tokens, shape.feed_forward)),
      logits_(floats(std::min(shape.most_tokens, kLogitsTokens), shape.vocabulary)),
      wide_(shape.most_tokens, std::max(shape.heads * shape.head_size, shape.feed_forward)) {
  for (int i = 0; i < kMostMixes; ++i) mixed_.emplace_back(shape.most_tokens, shape.channels);
}

// One step; everything is put on the stream in order.
struct Step::Call {
  const Step& step;
  const Weights& weights;
  cudaStream_t stream;
  int tokens = 0;
  int segments = 0;

  const WkvCudaShape& shape() const { return step.shape_; }
  unsigned char* input() const { return step.input_.device.data(); }
  // Where a layer begins in a session's state: att_x, ffn_x, then the recurrence.
  std::ptrdiff_t state(int layer) const {
    const std::ptrdiff_t recurrence = std::ptrdiff_t{shape().heads} * shape().head_size * shape().head_size;
    return layer * (2 * std::ptrdiff_t{shape().channels} + recurrence);
  }

  void embed() const {
    cuda::embed({.embedding = weights.embedding(),
                 .type = weights.embedding_type(),
                 .tokens = step.input_.tokens(input()),
                 .norm = weights.norm(WKV_CUDA_LN0_WEIGHT),
                 .x = step.x_.data(),
                 .count = tokens,
                 .channels = shape().channels},
                stream);
  }

  struct MixOf {
    WkvCudaVector mix;
    WkvCudaMatrixName matrix;
  };
  // Quantizes the shifted norm of x for each of the matrices.
  void shift(WkvCudaVector norm, std::ptrdiff_t state_offset, std::initializer_list<MixOf> mixes,
             int layer) const {
    ShiftQuantizeArguments arguments{.x = step.x_.data(),
                                     .segments = step.input_.segments(input()),
                                     .segment_of = step.input_.segment_of(input()),
                                     .state_offset = state_offset,
                                     .norm = weights.norm(norm, layer),
                                     .mixes = {},
                                     .count = 0,
                                     .tokens = tokens,
                                     .channels = shape().channels};
    for (const MixOf& mix : mixes) {
      const WeightMatrix& matrix = weights.matrix(mix.matrix, layer);
      const auto index = static_cast<std::size_t>(arguments.count);
      arguments.mixes[arguments.count++] = {weights.vector(mix.mix, layer), matrix.input_scales.data(),
                                            step.mixed_[index].of(matrix)};
    }
    shift_quantize(arguments, stream);
  }

  static Int8Product product(const WeightMatrix& matrix, const Quantized& input,
                             const DeviceArray<float>& output, Epilogue epilogue = Epilogue::kStore,
                             const float* gate = nullptr) {
    return {matrix.panels.data(), input.of(matrix), output.data(), gate, matrix.rows, epilogue};
  }

  void multiply(std::initializer_list<Int8Product> products, int count) const {
    GemmInt8Arguments arguments{{}, 0, count};
    for (const Int8Product& each : products) arguments.products[arguments.count++] = each;
    gemm_int8(arguments, stream);
  }

  // x += O (GroupNorm(WKV(r, k, v)) * silu(g))
  void time_mixing(int layer) const {
    shift(WKV_CUDA_LN1_WEIGHT, state(layer),
          {{WKV_CUDA_ATT_MIX_R, WKV_CUDA_ATT_RECEPTANCE},
           {WKV_CUDA_ATT_MIX_K, WKV_CUDA_ATT_KEY},
           {WKV_CUDA_ATT_MIX_V, WKV_CUDA_ATT_VALUE},
           {WKV_CUDA_ATT_MIX_G, WKV_CUDA_ATT_GATE}},
          layer);
    multiply({product(weights.matrix(WKV_CUDA_ATT_RECEPTANCE, layer), step.mixed_[0], step.r_),
              product(weights.matrix(WKV_CUDA_ATT_KEY, layer), step.mixed_[1], step.k_),
              product(weights.matrix(WKV_CUDA_ATT_VALUE, layer), step.mixed_[2], step.v_),
              product(weights.matrix(WKV_CUDA_ATT_GATE, layer), step.mixed_[3], step.g_)},
             tokens);
    wkv5({.r = step.r_.data(),
          .k = step.k_.data(),
          .v = step.v_.data(),
          .y = step.y_.data(),
          .forget = weights.vector(WKV_CUDA_ATT_FORGET, layer),
          .u = weights.vector(WKV_CUDA_ATT_BONUS, layer),
          .segments = step.input_.segments(input()),
          .state_offset = state(layer) + 2 * std::ptrdiff_t{shape().channels},
          .count = segments,
          .heads = shape().heads,
          .head_size = shape().head_size},
         stream);
    const WeightMatrix& output = weights.matrix(WKV_CUDA_ATT_OUTPUT, layer);
    gated_norm({.y = step.y_.data(),
                .g = step.g_.data(),
                .norm = weights.norm(WKV_CUDA_LN_X_WEIGHT, layer),
                .epsilon = shape().group_norm_epsilon,
                .input_scales = output.input_scales.data(),
                .out = step.wide_.of(output),
                .tokens = tokens,
                .head_size = shape().head_size},
               stream);
    multiply({product(output, step.wide_, step.x_, Epilogue::kAdd)}, tokens);
  }

  // x += sigmoid(R xr) * (V relu(K xk)^2)
  void channel_mixing(int layer) const {
    shift(WKV_CUDA_LN2_WEIGHT, state(layer) + shape().channels,
          {{WKV_CUDA_FFN_MIX_K, WKV_CUDA_FFN_KEY}, {WKV_CUDA_FFN_MIX_R, WKV_CUDA_FFN_RECEPTANCE}}, layer);
    multiply({product(weights.matrix(WKV_CUDA_FFN_KEY, layer), step.mixed_[0], step.hidden_,
                      Epilogue::kReluSquared),
              product(weights.matrix(WKV_CUDA_FFN_RECEPTANCE, layer), step.mixed_[1], step.gate_)},
             tokens);
    const WeightMatrix& value = weights.matrix(WKV_CUDA_FFN_VALUE, layer);
    quantize({step.hidden_.data(), value.input_scales.data(), step.wide_.of(value), tokens}, stream);
    multiply({product(value, step.wide_, step.x_, Epilogue::kAddGated, step.gate_.data())}, tokens);
  }

  void layers() const {
    embed();
    for (int layer = 0; layer < shape().layers; ++layer) {
      time_mixing(layer);
      channel_mixing(layer);
    }
  }

  // logits[i] = head LN(x[wanted[begin + i]]; ln_out)
  void logits(int begin, int count) const {
    const WeightMatrix& head = weights.matrix(WKV_CUDA_HEAD);
    norm_quantize({.x = step.x_.data(),
                   .rows = step.input_.wanted(input()) + begin,
                   .norm = weights.norm(WKV_CUDA_LN_OUT_WEIGHT),
                   .input_scales = head.input_scales.data(),
                   .out = step.mixed_[0].of(head),
                   .count = count},
                  stream);
    multiply({product(head, step.mixed_[0], step.logits_)}, count);
  }
};

const Graph* Step::graph_of(const Call& call, const Stream& stream) {
  if (call.tokens != call.segments) return nullptr;
  auto found = graphs_.find(call.tokens);
  if (found == graphs_.end()) {
    if (graphs_.size() == kMostGraphs) graphs_.erase(graphs_.begin());
    found = graphs_.try_emplace(call.tokens, stream, kComputing, [&] { call.layers(); }).first;
  }
  return &found->second;
}

void Step::run_head(const Call& call, int wanted, int copied, float* logits, const Stream& stream) const {
  const auto vocabulary = static_cast<std::size_t>(shape_.vocabulary);
  for (int begin = 0; begin < wanted; begin += kLogitsTokens) {
    const int count = std::min(kLogitsTokens, wanted - begin);
    call.logits(begin, count);
    const int to_host = std::clamp(copied - begin, 0, count);
    if (to_host > 0) {
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
  Call call{*this, weights, stream.get()};
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
  input_.copy(stream);
  const Graph* const graph = graph_of(call, stream);
  try {
    if (graph != nullptr) {
      graph->run(stream, kComputing);
    } else {
      call.layers();
    }
    run_head(call, wanted, copied, logits, stream);
    draws_.copy(stream);
    check(cudaGetLastError(), kComputing);
    stream.wait(kComputing);
  } catch (Failed& failed) {
    // Whatever it was, states may be half written.
    failed.code = WKV_CUDA_LOST;
    throw;
  }
  draws_.deliver(segments);
}

}  // namespace wkv::cuda
