#pragma once

#include <chrono>
#include <span>
#include <utility>
#include <vector>

#include "gpu_check/random_model.h"

namespace wkv::gpu_check {

// Some sessions of a model that are stepped together.
class Sessions {
 public:
  // What each is given in a step: tokens of its own, or the same.
  enum class Tokens { kOwn, kSame };

  Sessions(const Library& library, const RandomModel& model, int count, Tokens tokens = Tokens::kOwn)
      : api_(*library.api), model_(model), tokens_(tokens), random_(99) {
    WkvCudaFailure failure{};
    for (int i = 0; i < count; ++i) {
      WkvCudaPage* page = nullptr;
      must(api_.create_page(model_.get(), &page, &failure), failure);
      pages_.push_back(page);
    }
  }
  ~Sessions() {
    for (WkvCudaPage* const page : pages_) api_.destroy_page(page);
  }
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;

  // One step: so many random tokens of each session that has any. Returns the logits that were asked for.
  const std::vector<float>& step(const std::vector<int>& counts, WkvCudaLogits logits) {
    run(counts, logits, {});
    return logits_;
  }

  // The same, and each session draws its next token with these options. Returns the tokens.
  std::vector<std::int32_t> draw(const std::vector<int>& counts, const WkvCudaDraw& options) {
    std::vector<WkvCudaDraw> draws(counts.size(), options);
    for (WkvCudaDraw& each : draws) each.random = static_cast<double>(random_.word()) * 0x1p-32;
    run(counts, WKV_CUDA_LOGITS_NONE, draws);
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] > 0) tokens.push_back(draws[i].token);
    }
    return tokens;
  }

  // Of the last step.
  const std::vector<float>& logits() const { return logits_; }

  std::vector<float> state(std::size_t session) const {
    std::vector<float> numbers(model_.page_floats());
    WkvCudaFailure failure{};
    must(api_.read_page(pages_[session], numbers.data(), &failure), failure);
    return numbers;
  }

  // Has each go on with what is left of its state when it has been packed and unpacked.
  void pack_and_unpack() {
    for (WkvCudaPage*& page : pages_) {
      for (const WkvCudaType type : {WKV_CUDA_F16, WKV_CUDA_F32}) {
        WkvCudaPage* copy = nullptr;
        WkvCudaFailure failure{};
        must(api_.copy_page(page, type, &copy, &failure), failure);
        api_.destroy_page(std::exchange(page, copy));
      }
    }
  }

 private:
  void run(const std::vector<int>& counts, WkvCudaLogits logits, std::span<WkvCudaDraw> draws) {
    std::vector<WkvCudaSegment> segments;
    std::vector<std::vector<std::uint32_t>> tokens(counts.size());
    std::size_t wanted = 0;
    const Random random = random_;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] == 0) continue;
      if (tokens_ == Tokens::kSame) random_ = random;
      for (int t = 0; t < counts[i]; ++t) {
        tokens[i].push_back(random_.word() % static_cast<std::uint32_t>(model_.shape().vocabulary));
      }
      segments.push_back(
          {pages_[i], tokens[i].data(), counts[i], logits, draws.empty() ? nullptr : &draws[i]});
      wanted += logits == WKV_CUDA_LOGITS_ALL ? static_cast<std::size_t>(counts[i]) : 1;
    }
    if (logits == WKV_CUDA_LOGITS_NONE) wanted = 0;
    logits_.resize(wanted * static_cast<std::size_t>(model_.shape().vocabulary));
    WkvCudaFailure failure{};
    must(api_.step(model_.get(), segments.data(), static_cast<std::int32_t>(segments.size()), logits_.data(),
                   &failure),
         failure);
  }

  const WkvCudaApi& api_;
  const RandomModel& model_;
  Tokens tokens_;
  Random random_;
  std::vector<WkvCudaPage*> pages_;
  std::vector<float> logits_;
};

}  // namespace wkv::gpu_check
