#include "engine/cuda_draw.h"

#include <algorithm>
#include <span>

namespace wkv {

namespace {

std::span<const TokenBias> biases_of(const Sampling& sampling) {
  return sampling.bias == nullptr ? std::span<const TokenBias>{} : std::span<const TokenBias>{*sampling.bias};
}
std::span<const std::uint32_t> forbidden_of(const Sampling& sampling) {
  return sampling.forbidden == nullptr ? std::span<const std::uint32_t>{}
                                       : std::span<const std::uint32_t>{*sampling.forbidden};
}

}  // namespace

bool CudaDraw::covers(const Sampling& sampling, std::size_t counted, int vocabulary) {
  // Beyond that only sampling at random is left, and 1 / temperature may become 0.
  constexpr double kMaxTemperature = 1e6;
  return vocabulary <= WKV_CUDA_MAX_DRAWN_VOCABULARY && sampling.order == Sampling{}.order &&
         sampling.mask == nullptr && sampling.typical_p >= 1 && sampling.logprobs == 0 &&
         sampling.temperature <= kMaxTemperature &&
         counted + biases_of(sampling).size() <= WKV_CUDA_MAX_EDITS &&
         forbidden_of(sampling).size() <= WKV_CUDA_MAX_EDITS;
}

// Ids that the model does not have mean nothing.
CudaDraw::CudaDraw(const DeviceDraw& draw, int vocabulary) {
  const Sampling& sampling = *draw.sampling;
  const auto end = static_cast<std::uint32_t>(vocabulary);
  const std::span<const TokenBias> biases = biases_of(sampling);
  auto bias = biases.begin();
  const auto take_biases = [&](std::uint32_t before) {
    for (; bias != biases.end() && bias->token < before; ++bias)
      edits.push_back({bias->token, bias->bias, 0});
  };
  for (const TokenCounts::Entry& entry : draw.counts.entries()) {
    if (entry.token >= end) break;
    take_biases(entry.token);
    const bool also_biased = bias != biases.end() && bias->token == entry.token;
    edits.push_back({entry.token, also_biased ? (bias++)->bias : 0,
                     sampling.presence_penalty + entry.count * sampling.frequency_penalty});
  }
  take_biases(end);
  const std::span<const std::uint32_t> all = forbidden_of(sampling);
  forbidden.assign(all.begin(), std::lower_bound(all.begin(), all.end(), end));
  request = {.temperature = sampling.temperature,
             .top_p = std::min(sampling.top_p, 1.0),
             .min_p = std::max(sampling.min_p, 0.0),
             .top_k = sampling.top_k,
             .random = draw.random,
             .edits = edits.data(),
             .edit_count = static_cast<std::uint32_t>(edits.size()),
             .forbidden = forbidden.data(),
             .forbidden_count = static_cast<std::uint32_t>(forbidden.size()),
             .token = -1};
}

std::optional<std::uint32_t> CudaDraw::token() const {
  if (request.token < 0) return std::nullopt;
  return static_cast<std::uint32_t>(request.token);
}

}  // namespace wkv
