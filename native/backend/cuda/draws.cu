#include "backend/cuda/draws.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace wkv::cuda {

namespace {

constexpr const char* kRoom = "making room for draws";

static_assert(WKV_CUDA_MAX_DRAWN_VOCABULARY == kMaxDrawnVocabulary);

void require_between(const char* name, double value, double least, double most, const char* expected) {
  if (value >= least && value <= most) return;
  refuse("a draw has the " + std::string(name) + " " + std::to_string(value) + ", expected " + expected);
}

// Ids below the vocabulary's size in ascending order; id_of(i) is one of them.
template <class IdOf>
void require_ids(const char* name, const void* list, std::uint32_t count, int vocabulary, IdOf id_of) {
  const std::string of = std::string("a draw's ") + name;
  if (count > WKV_CUDA_MAX_EDITS) {
    refuse(of + " are " + std::to_string(count) + ", expected at most " + std::to_string(WKV_CUDA_MAX_EDITS));
  }
  if (count > 0 && list == nullptr) refuse(of + " are null");
  for (std::uint32_t i = 0; i < count; ++i) {
    if (id_of(i) >= static_cast<std::uint32_t>(vocabulary)) {
      refuse(of + " have the token " + std::to_string(id_of(i)) + ", beyond the vocabulary of " +
             std::to_string(vocabulary));
    }
    if (i > 0 && id_of(i) <= id_of(i - 1)) refuse(of + " are not in ascending order of tokens");
  }
}

// Of a temperature above 0 it is above 0, too; 1e30 times any difference makes the other's probability
// nothing.
double inverse_of(double temperature) {
  return temperature > 0 ? std::clamp(1 / temperature, std::numeric_limits<double>::min(), 1e30) : 0;
}

}  // namespace

void require_valid(const WkvCudaDraw& draw, int vocabulary) {
  if (vocabulary > kMaxDrawnVocabulary) {
    refuse("there are no draws from a vocabulary of " + std::to_string(vocabulary));
  }
  require_between("temperature", draw.temperature, 0, std::numeric_limits<double>::max(),
                  "a finite number from 0 on");
  require_between("top_p", draw.top_p, 0, 1, "0 to 1");
  require_between("min_p", draw.min_p, 0, 1, "0 to 1");
  require_between("random number", draw.random, 0, 0x1.fffffffffffffp-1, "a number from 0 to below 1");
  require_ids("edits", draw.edits, draw.edit_count, vocabulary,
              [&](std::uint32_t i) { return draw.edits[i].token; });
  require_ids("forbidden tokens", draw.forbidden, draw.forbidden_count, vocabulary,
              [&](std::uint32_t i) { return draw.forbidden[i]; });
}

Draws::Draws(const WkvCudaShape& shape)
    : vocabulary_(shape.vocabulary),
      host_tokens_(static_cast<std::size_t>(shape.max_segments), kRoom),
      tokens_(static_cast<std::size_t>(shape.max_segments), kRoom) {}

void Draws::begin(const std::vector<StepSegment>& segments, const Stream& stream) {
  count_ = 0;
  std::size_t edits = 0;
  std::size_t forbidden = 0;
  for (const StepSegment& segment : segments) {
    if (segment.draw == nullptr) continue;
    ++count_;
    edits += segment.draw->edit_count;
    forbidden += segment.draw->forbidden_count;
  }
  if (count_ == 0) return;
  const std::size_t edits_at = static_cast<std::size_t>(count_) * sizeof(DrawRow);
  const std::size_t forbidden_at = edits_at + edits * sizeof(LogitEdit);
  const std::size_t bytes = forbidden_at + forbidden * sizeof(std::uint32_t);
  if (host_.size() < bytes || device_.size() < bytes) {
    const std::size_t roomy = bytes + bytes / 2;
    host_ = PinnedArray<unsigned char>(roomy, kRoom);
    device_ = DeviceArray<unsigned char>(roomy, kRoom);
  }
  auto* row = reinterpret_cast<DrawRow*>(host_.data());
  auto* edit = reinterpret_cast<LogitEdit*>(host_.data() + edits_at);
  auto* token = reinterpret_cast<std::uint32_t*>(host_.data() + forbidden_at);
  const auto there = [&](const void* here) {
    return device_.data() + (static_cast<const unsigned char*>(here) - host_.data());
  };
  for (const StepSegment& segment : segments) {
    if (segment.draw == nullptr) continue;
    const WkvCudaDraw& draw = *segment.draw;
    *row++ = {.kept = segment.kept,
              .edits = reinterpret_cast<const LogitEdit*>(there(edit)),
              .forbidden = reinterpret_cast<const std::uint32_t*>(there(token)),
              .edit_count = static_cast<int>(draw.edit_count),
              .forbidden_count = static_cast<int>(draw.forbidden_count),
              .top_k = draw.top_k,
              .random = draw.random,
              .top_p = draw.top_p,
              .min_log = draw.min_p > 0 ? std::log(draw.min_p) : -std::numeric_limits<double>::infinity(),
              .inverse = inverse_of(draw.temperature)};
    edit = std::transform(draw.edits, draw.edits + draw.edit_count, edit, [](const WkvCudaEdit& each) {
      return LogitEdit{each.token, each.bias, each.penalty};
    });
    token = std::copy_n(draw.forbidden, draw.forbidden_count, token);
  }
  check(cudaMemcpyAsync(device_.data(), host_.data(), bytes, cudaMemcpyHostToDevice, stream.get()),
        "beginning draws");
}

void Draws::draw(float* logits, int first, int count, const Stream& stream) const {
  cuda::draw({logits, reinterpret_cast<const DrawRow*>(device_.data()) + first, tokens_.data() + first, count,
              vocabulary_},
             stream.get());
}

void Draws::copy(const Stream& stream) const {
  if (count_ == 0) return;
  check(cudaMemcpyAsync(host_tokens_.data(), tokens_.data(),
                        static_cast<std::size_t>(count_) * sizeof(std::int32_t), cudaMemcpyDeviceToHost,
                        stream.get()),
        "copying tokens");
}

void Draws::deliver(const std::vector<StepSegment>& segments) const {
  const std::int32_t* token = host_tokens_.data();
  for (const StepSegment& segment : segments) {
    if (segment.draw != nullptr) segment.draw->token = *token++;
  }
}

}  // namespace wkv::cuda
