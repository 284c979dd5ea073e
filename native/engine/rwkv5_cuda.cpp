// RWKV-5.2 by the library of the CUDA backend.

#include "engine/rwkv5_cuda.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/cuda_draw.h"
#include "engine/error.h"
#include "engine/wkv5_mixing.h"

namespace wkv {

namespace {

using rwkv5::Attention;
using rwkv5::Layer;
using rwkv5::Weights;

// Throws unless the call succeeded.
void check(std::int32_t code, const WkvCudaFailure& failure) {
  if (code == WKV_CUDA_OK) return;
  throw Error(code == WKV_CUDA_UNSUPPORTED ? "ERR_WKV_UNSUPPORTED" : "ERR_WKV_DEVICE", failure.text);
}

void require_int8(Precision precision) {
  if (precision == Precision::kInt8) return;
  throw Error("ERR_WKV_UNSUPPORTED",
              std::string("the CUDA backend takes weights in int8, not in ") + name_of(precision))
      .about({}, "int8", name_of(precision));
}

struct DestroyModel {
  const WkvCudaApi* api;
  void operator()(WkvCudaModel* model) const { api->destroy_model(model); }
};

struct DestroyPage {
  const WkvCudaApi* api;
  void operator()(WkvCudaPage* page) const { api->destroy_page(page); }
};
using Page = std::unique_ptr<WkvCudaPage, DestroyPage>;

class Upload {
 public:
  Upload(const WkvCudaApi& api, WkvCudaModel* model) : api_(api), model_(model) {}

  void all(const Weights& weights) {
    norm(WKV_CUDA_LN0_WEIGHT, weights.outer.ln0);
    norm(WKV_CUDA_LN_OUT_WEIGHT, weights.outer.ln_out);
    matrix(WKV_CUDA_HEAD, weights.outer.head);
    embedding(weights.outer.embedding);
    for (const Layer& each : weights.layers) {
      layer(each);
      ++layer_;
    }
  }

 private:
  void layer(const Layer& each) {
    norm(WKV_CUDA_LN1_WEIGHT, each.ln1);
    norm(WKV_CUDA_LN2_WEIGHT, each.ln2);
    const Attention& att = each.attention;
    vector(WKV_CUDA_ATT_MIX_K, att.mix_k);
    vector(WKV_CUDA_ATT_MIX_V, att.mix_v);
    vector(WKV_CUDA_ATT_MIX_R, att.mix_r);
    vector(WKV_CUDA_ATT_MIX_G, att.mix_g);
    vector(WKV_CUDA_ATT_FORGET, att.forget);
    vector(WKV_CUDA_ATT_BONUS, att.bonus);
    norm(WKV_CUDA_LN_X_WEIGHT, att.ln_x);
    matrix(WKV_CUDA_ATT_RECEPTANCE, att.receptance);
    matrix(WKV_CUDA_ATT_KEY, att.key);
    matrix(WKV_CUDA_ATT_VALUE, att.value);
    matrix(WKV_CUDA_ATT_GATE, att.gate);
    matrix(WKV_CUDA_ATT_OUTPUT, att.output);
    const FeedForward& ffn = each.feed_forward;
    vector(WKV_CUDA_FFN_MIX_K, ffn.mix_k);
    vector(WKV_CUDA_FFN_MIX_R, ffn.mix_r);
    matrix(WKV_CUDA_FFN_KEY, ffn.key);
    matrix(WKV_CUDA_FFN_RECEPTANCE, ffn.receptance);
    matrix(WKV_CUDA_FFN_VALUE, ffn.value);
  }

  void vector(int name, const std::vector<float>& numbers) {
    check(api_.put_vector(model_, name, layer_, numbers.data(), numbers.size(), &failure_), failure_);
  }
  void norm(int weight, const NormWeights& norm) {
    vector(weight, norm.weight);
    vector(weight + 1, norm.bias);
  }
  void matrix(int name, const Matrix& matrix) {
    require_int8(matrix.precision);
    const WkvCudaMatrix panels{
        .panels = matrix.data.data(),
        .bytes = matrix.size_in_bytes(),
        .rows = matrix.rows,
        .columns = matrix.columns,
        .group = matrix.group,
        .input_scales = matrix.input_scales.empty() ? nullptr : matrix.input_scales.data(),
    };
    check(api_.put_matrix(model_, name, layer_, &panels, &failure_), failure_);
  }
  void embedding(const RowMatrix& table) {
    const int type = table.type == StoredType::kF32   ? WKV_CUDA_F32
                     : table.type == StoredType::kF16 ? WKV_CUDA_F16
                                                      : WKV_CUDA_BF16;
    check(api_.put_embedding(model_, type, table.data.data(), table.data.size(), &failure_), failure_);
  }

  const WkvCudaApi& api_;
  WkvCudaModel* model_;
  int layer_ = 0;
  WkvCudaFailure failure_{};
};

// A session's page. The library keeps what it is in, also without the model.
class Numbers final : public DeviceNumbers {
 public:
  Numbers(const WkvCudaApi& api, std::weak_ptr<WkvCudaModel> model, int vocabulary, WkvCudaPage* page)
      : api_(api), model_(std::move(model)), vocabulary_(vocabulary), page_(page, DestroyPage{&api}) {}

  std::shared_ptr<DeviceNumbers> copy() const override {
    WkvCudaPage* copied = nullptr;
    WkvCudaFailure failure{};
    check(api_.copy_page(page_.get(), &copied, &failure), failure);
    return std::make_shared<Numbers>(api_, model_, vocabulary_, copied);
  }
  void read(float* numbers) const override {
    WkvCudaFailure failure{};
    check(api_.read_page(page_.get(), numbers, &failure), failure);
  }
  void write(const float* numbers) override {
    WkvCudaFailure failure{};
    check(api_.write_page(page_.get(), numbers, &failure), failure);
  }
  std::vector<float> read_logits() const override {
    WkvCudaFailure failure{};
    std::vector<float> logits(static_cast<std::size_t>(vocabulary_));
    check(api_.read_logits(page_.get(), logits.data(), &failure), failure);
    return logits;
  }

  bool is_of(const std::shared_ptr<WkvCudaModel>& model) const { return model_.lock() == model; }
  WkvCudaPage* page() const { return page_.get(); }

 private:
  const WkvCudaApi& api_;
  std::weak_ptr<WkvCudaModel> model_;
  int vocabulary_;
  Page page_;
};

struct Buffers final : Workspace {
  std::vector<WkvCudaSegment> segments;
  std::vector<CudaDraw> draws;
  Memory logits;
};

class CudaRwkv5 final : public Network {
 public:
  CudaRwkv5(ModelInfo info, const Weights& weights, float group_norm_epsilon, const WkvCudaApi& api,
            int device)
      : info_(std::move(info)), api_(api) {
    const WkvCudaShape shape{
        .layers = info_.layers,
        .channels = info_.embedding,
        .heads = info_.heads,
        .head_size = info_.head_size,
        .feed_forward = info_.feed_forward,
        .vocabulary = info_.vocabulary,
        .most_tokens = static_cast<std::int32_t>(kMostTokens),
        .most_segments = static_cast<std::int32_t>(kMostTokens),
        .group_norm_epsilon = group_norm_epsilon,
    };
    WkvCudaModel* created = nullptr;
    WkvCudaFailure failure{};
    check(api_.create_model(device, &shape, info_.weight_bytes, &created, &failure), failure);
    model_ = std::shared_ptr<WkvCudaModel>(created, DestroyModel{&api_});
    Upload(api_, created).all(weights);
    for (const Layer& layer : weights.layers) tuned_.push_back(layer.attention.tuned);
  }

  const ModelInfo& info() const override { return info_; }

  std::unique_ptr<Workspace> create_workspace(unsigned) const override { return std::make_unique<Buffers>(); }

  void initialize(float* state) const override {
    std::fill_n(state, info_.state.numbers(), 0.0F);
    for (std::size_t layer = 0; layer < tuned_.size(); ++layer) {
      initialize_recurrence(info_, layer, tuned_[layer], true, state);
    }
  }

  std::shared_ptr<DeviceNumbers> create_numbers() const override {
    WkvCudaPage* page = nullptr;
    WkvCudaFailure failure{};
    check(api_.create_page(model_.get(), &page, &failure), failure);
    return std::make_shared<Numbers>(api_, model_, info_.vocabulary, page);
  }

  bool owns(const DeviceNumbers& numbers) const override {
    const auto* const own = dynamic_cast<const Numbers*>(&numbers);
    return own != nullptr && own->is_of(model_);
  }

  bool draws(const Sampling& sampling, std::size_t counted) const override {
    return CudaDraw::covers(sampling, counted, info_.vocabulary);
  }

  bool step(std::span<const Segment> segments, Workspace& workspace, ThreadPool&, unsigned,
            const LogitsSink& sink, const Abandon& abandon) const override {
    if (abandon()) return false;
    auto& b = static_cast<Buffers&>(workspace);
    const auto vocabulary = static_cast<std::size_t>(info_.vocabulary);
    std::size_t wanted = 0;
    b.segments.clear();
    b.draws.clear();
    b.draws.reserve(segments.size());  // they must stay where they are
    for (const Segment& segment : segments) {
      wanted += segment.logits == Logits::kAll    ? segment.tokens.size()
                : segment.logits == Logits::kLast ? 1
                                                  : 0;
    }
    if (b.logits.size() < wanted * vocabulary * sizeof(float)) {
      b.logits = Memory(wanted * vocabulary * sizeof(float));
    }
    for (const Segment& segment : segments) {
      b.segments.push_back({.page = static_cast<const Numbers*>(segment.device)->page(),
                            .tokens = segment.tokens.data(),
                            .count = static_cast<std::int32_t>(segment.tokens.size()),
                            .logits = segment.logits == Logits::kAll    ? WKV_CUDA_LOGITS_ALL
                                      : segment.logits == Logits::kLast ? WKV_CUDA_LOGITS_LAST
                                                                        : WKV_CUDA_LOGITS_NONE,
                            .draw = nullptr});
      if (segment.draw == nullptr) continue;
      b.segments.back().draw = &b.draws.emplace_back(*segment.draw, info_.vocabulary).request;
    }
    WkvCudaFailure failure{};
    check(api_.step(model_.get(), b.segments.data(), static_cast<std::int32_t>(b.segments.size()),
                    b.logits.floats(), &failure),
          failure);
    auto draw = b.draws.begin();
    for (const Segment& segment : segments) {
      if (segment.draw != nullptr) segment.draw->token = (draw++)->token();
    }
    const float* logits = b.logits.floats();
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const std::size_t count = segments[i].tokens.size();
      const std::size_t first = segments[i].logits == Logits::kAll    ? 0
                                : segments[i].logits == Logits::kLast ? count - 1
                                                                      : count;
      for (std::size_t token = first; token < count; ++token, logits += vocabulary) sink(i, token, logits);
    }
    return true;
  }

 private:
  ModelInfo info_;
  const WkvCudaApi& api_;
  std::shared_ptr<WkvCudaModel> model_;
  std::vector<std::vector<float>> tuned_;  // time_state of each layer, if there is one
};

}  // namespace

void require_cuda(const ModelInfo& info, const WkvCudaApi& api, int device) {
  if (info.version != "5.2") {
    throw Error("ERR_WKV_UNSUPPORTED", "the CUDA backend runs RWKV 5.2, not " + info.version)
        .about({}, "RWKV 5.2", "RWKV " + info.version);
  }
  require_int8(info.weights);
  WkvCudaDevice description{};
  WkvCudaFailure failure{};
  check(api.describe_device(device, &description, &failure), failure);
  if (info.weight_bytes <= description.free_memory) return;
  const auto mib = [](std::uint64_t bytes) { return std::to_string(bytes >> 20U) + " MiB"; };
  throw Error("ERR_WKV_DEVICE", "the weights take " + mib(info.weight_bytes) + ", but only " +
                                    mib(description.free_memory) + " of the " + description.name +
                                    "'s memory are free")
      .about({}, std::to_string(info.weight_bytes) + " bytes",
             std::to_string(description.free_memory) + " bytes");
}

std::shared_ptr<const Network> make_cuda_network(ModelInfo info, const Weights& weights,
                                                 float group_norm_epsilon, const WkvCudaApi& api,
                                                 int device) {
  return std::make_shared<CudaRwkv5>(std::move(info), weights, group_norm_epsilon, api, device);
}

}  // namespace wkv
