// Models of all versions, by the library of the CUDA backend.

#include "engine/cuda_network.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/memory.h"
#include "engine/cuda_draw.h"
#include "engine/cuda_library.h"
#include "engine/error.h"

namespace wkv {

namespace {

struct DestroyPage {
  const WkvCudaApi* api;
  void operator()(WkvCudaPage* page) const { api->destroy_page(page); }
};
using Page = std::unique_ptr<WkvCudaPage, DestroyPage>;

// A session's page. The library keeps what it is in, also without the model.
class Numbers final : public DeviceNumbers {
 public:
  Numbers(const WkvCudaApi& api, std::weak_ptr<WkvCudaModel> model, int vocabulary, Page page,
          bool packed = false)
      : api_(api),
        model_(std::move(model)),
        vocabulary_(vocabulary),
        page_(std::move(page)),
        packed_(packed) {}

  std::shared_ptr<DeviceNumbers> copy() const override {
    WkvCudaPage* copied = nullptr;
    WkvCudaFailure failure{};
    check(api_.copy_page(page_.get(), WKV_CUDA_F32, &copied, &failure), failure);
    return std::make_shared<Numbers>(api_, model_, vocabulary_, Page(copied, DestroyPage{&api_}));
  }
  std::shared_ptr<DeviceNumbers> pack() const override {
    WkvCudaPage* packed = nullptr;
    WkvCudaFailure failure{};
    const std::int32_t code = api_.copy_page(page_.get(), WKV_CUDA_F16, &packed, &failure);
    if (code == WKV_CUDA_MEMORY) return nullptr;
    check(code, failure);
    return std::make_shared<Numbers>(api_, model_, vocabulary_, Page(packed, DestroyPage{&api_}), true);
  }
  bool is_packed() const override { return packed_; }
  void read(void* numbers) const override {
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
  bool packed_;
};

struct Buffers final : Workspace {
  std::vector<WkvCudaSegment> segments;
  std::vector<CudaDraw> draws;
  Memory logits;
};

class CudaNetwork final : public Network {
 public:
  CudaNetwork(ModelInfo info, std::shared_ptr<WkvCudaModel> model, InitialState initial,
              const WkvCudaApi& api)
      : info_(std::move(info)), api_(api), model_(std::move(model)), initial_(std::move(initial)) {}

  const ModelInfo& info() const override { return info_; }
  std::size_t max_tokens() const override { return kMaxTokensOnCuda; }
  bool is_lost() const override { return lost_.load(); }

  std::unique_ptr<Workspace> create_workspace(unsigned) const override { return std::make_unique<Buffers>(); }

  void initialize(float* state) const override { initial_(info_, state); }

  std::shared_ptr<DeviceNumbers> create_numbers() const override {
    WkvCudaPage* page = nullptr;
    WkvCudaFailure failure{};
    check(api_.create_page(model_.get(), &page, &failure), failure);
    return std::make_shared<Numbers>(api_, model_, info_.vocabulary, Page(page, DestroyPage{&api_}));
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
    const std::int32_t code =
        api_.step(model_.get(), b.segments.data(), static_cast<std::int32_t>(b.segments.size()),
                  b.logits.floats(), &failure);
    if (code == WKV_CUDA_LOST) lost_.store(true);
    check(code, failure);
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
  InitialState initial_;
  mutable std::atomic<bool> lost_{false};
};

}  // namespace

void require_quantized(Precision precision) {
  if (is_quantized(precision)) return;
  throw Error("ERR_WKV_UNSUPPORTED",
              std::string("the CUDA backend takes weights in int8 or int4, not in ") + name_of(precision))
      .about({}, "int8 or int4", name_of(precision));
}

void require_cuda(const ModelInfo& info, const WkvCudaApi& api, int device) {
  require_quantized(info.weights);
  const WkvCudaDevice description = describe_device(api, device);
  if (info.weight_bytes <= description.free_memory) return;
  const auto mib = [](std::uint64_t bytes) { return std::to_string(bytes >> 20U) + " MiB"; };
  throw Error("ERR_WKV_DEVICE", "the weights take " + mib(info.weight_bytes) + " as " +
                                    name_of(info.weights) + ", but only " + mib(description.free_memory) +
                                    " of the " + description.name + "'s memory are free")
      .about({}, std::to_string(info.weight_bytes) + " bytes",
             std::to_string(description.free_memory) + " bytes");
}

std::shared_ptr<const Network> make_cuda_network(ModelInfo info, std::shared_ptr<WkvCudaModel> model,
                                                 InitialState initial, const WkvCudaApi& api) {
  return std::make_shared<CudaNetwork>(std::move(info), std::move(model), std::move(initial), api);
}

}  // namespace wkv
