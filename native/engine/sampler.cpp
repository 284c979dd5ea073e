// The fast form of the sampler. A vocabulary has some 65,536 tokens, of which a few hundred matter: passes
// over all of them are kernels, in single precision, and only find out which tokens need not be looked at and
// how much all of them weigh; candidates.cpp does the rest. Where that leaves thousands of tokens, or all,
// the kernels' weights decide, which are good to about 1e-6.

#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "backend/cpu/cpu_features.h"
#include "backend/cpu/denormals.h"
#include "engine/candidates.h"
#include "kernels/compiler.h"

namespace wkv {

bool Sampling::is_exempt(std::uint32_t token) const {
  return exempt != nullptr && std::binary_search(exempt->begin(), exempt->end(), token);
}

bool Sampling::is_masked(std::size_t token) const {
  if (mask == nullptr) return false;
  return token / 32 >= mask->size() || ((*mask)[token / 32] >> (token % 32) & 1) == 0;
}

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLowest = std::numeric_limits<float>::lowest();
constexpr std::size_t kBlock = 1024;  // tokens whose weights are added up
constexpr double kTried = 1024;       // the first guess at how many tokens count
constexpr int kFew = 4096;            // more tokens than that are not made a list of
constexpr float kBucketsPerUnit = 64;

// The floats below and above a number, for thresholds that err on one side.
float below(double value) { return std::nextafter(static_cast<float>(value), -kInfinity); }
float above(double value) { return std::nextafter(static_cast<float>(value), kInfinity); }

// Memory of a thread, kept for its next draw.
struct Scratch {
  std::vector<float> logits;  // with penalties and bias; -infinity for what may not be drawn
  std::vector<float> weights;
  std::vector<float> maxima;  // of groups of tokens
  std::vector<std::uint32_t> indices;
  std::vector<double> sums;
  Candidates candidates;
};

// The logits with penalties and bias, in double precision and then floats again. False if there is one that
// is not finite, other than -infinity for what is forbidden.
bool bend(std::span<const float> logits, const Sampling& sampling, const TokenCounts& counts,
          std::vector<float>& bent) {
  bent.resize(logits.size());
  if (!selected_kernels().copy_finite(bent.data(), logits.data(), static_cast<int>(logits.size())))
    return false;
  const std::span<const TokenBias> biases =
      sampling.bias == nullptr ? std::span<const TokenBias>{} : std::span<const TokenBias>{*sampling.bias};
  auto count = counts.entries().begin();
  auto bias = biases.begin();
  for (;;) {
    const std::uint32_t token = std::min(count == counts.entries().end() ? ~0U : count->token,
                                         bias == biases.end() ? ~0U : bias->token);
    if (token >= logits.size()) break;
    double value = static_cast<double>(logits[token]);
    if (count != counts.entries().end() && count->token == token) {
      value -= sampling.presence_penalty + count->count * sampling.frequency_penalty;
      ++count;
    }
    if (bias != biases.end() && bias->token == token) {
      value += static_cast<double>(bias->bias);
      ++bias;
    }
    bent[token] = static_cast<float>(value);
    if (!(bent[token] < kInfinity)) return false;
  }
  if (sampling.forbidden != nullptr) {
    for (const std::uint32_t token : *sampling.forbidden) {
      if (token < logits.size()) bent[token] = -kInfinity;
    }
  }
  if (sampling.mask != nullptr) {
    for (std::size_t token = 0; token < bent.size(); ++token) {
      if (sampling.is_masked(token)) bent[token] = -kInfinity;
    }
  }
  return true;
}

// The maximum of all; those of groups are kept.
float maximum(std::span<const float> x, std::vector<float>& maxima) {
  maxima.resize((x.size() + kMaximaBlock - 1) / kMaximaBlock * 16);
  selected_kernels().maxima(maxima.data(), x.data(), static_cast<int>(x.size()));
  return *std::max_element(maxima.begin(), maxima.end());
}

// The first of the highest, which is the maximum of one of the groups.
std::uint32_t first_of(float highest, std::span<const float> x, std::span<const float> maxima) {
  const auto group = std::find(maxima.begin(), maxima.end(), highest) - maxima.begin();
  const auto block = x.begin() + group / 16 * std::ptrdiff_t{kMaximaBlock};
  return static_cast<std::uint32_t>(std::find(block, x.end(), highest) - x.begin());
}

// A bound that at least `count` numbers reach, as so many groups' maxima do; changes the order of the maxima.
float reached_by(std::size_t count, std::vector<float>& maxima) {
  if (count > maxima.size()) return kLowest;
  const auto last = maxima.begin() + static_cast<std::ptrdiff_t>(count) - 1;
  std::nth_element(maxima.begin(), last, maxima.end(), std::greater<>{});
  return *last;
}

// The indices of lowest <= x < below.
std::span<const std::uint32_t> collect(std::span<const float> x, float lowest, float below,
                                       std::vector<std::uint32_t>& indices) {
  indices.resize(x.size());
  const auto size = static_cast<int>(x.size());
  const int count = selected_kernels().collect(indices.data(), x.data(), lowest, below, size, size);
  return {indices.data(), static_cast<std::size_t>(count)};
}

// One draw of a token at a temperature above 0. Until it knows that few tokens are left, these are the ones
// whose logit is at least lowest_, each with a weight of e^((logit - highest) * scale).
class Draw {
 public:
  Draw(Scratch& scratch, const Sampling& sampling, float highest)
      : scratch_(scratch), x_(scratch.logits), sampling_(sampling), highest_(highest) {}

  std::uint32_t token(double random) {
    for (auto step = sampling_.order.begin(); step != sampling_.order.end(); ++step) {
      if (*step == SamplingStep::kTemperature) {
        scale_ = inverse(sampling_.temperature);
      } else if (narrows(*step, sampling_, x_.size()) && list_rest(*step)) {
        scratch_.candidates.apply(*step, sampling_, *step == SamplingStep::kTopP ? total_ : 0);
        while (++step != sampling_.order.end()) scratch_.candidates.apply(*step, sampling_);
        return scratch_.candidates.draw(random);
      }
    }
    return one_of_many(random);
  }

 private:
  // Makes a list of all tokens that can remain after the step. False if they are too many of top-p, which is
  // then done.
  bool list_rest(SamplingStep step) {
    if (step == SamplingStep::kTopP) return list_rest_of_top_p();
    if (step == SamplingStep::kTopK) {
      list(reached_by(sampling_.top_k, scratch_.maxima));
    } else if (step == SamplingStep::kMinP) {
      list(at_least(std::log(sampling_.min_p)));
    } else {
      list(kLowest);
    }
    return true;
  }

  // The least logit that can have a weight of e^exponent, with a margin for rounding: weights are off by some
  // 1e-6, so a thousandth is ample.
  float at_least(double exponent) const {
    return std::max(kLowest, below(static_cast<double>(highest_) + (exponent - 1e-3) / scale_));
  }

  void list(float lowest) { list(collect(x_, std::max(lowest, lowest_), kInfinity, scratch_.indices)); }
  void list(std::span<const std::uint32_t> tokens) {
    scratch_.candidates.clear();
    for (const std::uint32_t token : tokens) {
      const double below_highest = static_cast<double>(x_[token]) - static_cast<double>(highest_);
      scratch_.candidates.add(token, below_highest * scale_);
    }
  }

  void weigh() {
    if (weighed_ == scale_) return;
    scratch_.weights.resize(x_.size());
    total_ = selected_kernels().weigh(scratch_.weights.data(), x_.data(), highest_,
                                      static_cast<float>(scale_), static_cast<int>(x_.size()));
    weighed_ = scale_;
  }

  // Let c be the last token that top-p takes, in descending order of probability. Those before it do not
  // reach top_p, so c and those after it, at most all V tokens and none more probable than c, have more than
  // 1 - top_p together. So p(c) > (1 - top_p) / V, and what is below that need not be looked at. Mostly a
  // higher bound does as well: if what is above it reaches top_p, c is there.
  bool list_rest_of_top_p() {
    weigh();
    const auto all = static_cast<double>(x_.size());
    for (const double tokens : {std::min(kTried, all), all}) {
      const float lowest = at_least(std::log(total_ * (1 - sampling_.top_p) / tokens));
      scratch_.indices.resize(x_.size());
      const int count = selected_kernels().collect(scratch_.indices.data(), x_.data(), lowest, kInfinity,
                                                   static_cast<int>(x_.size()), kFew);
      if (count > kFew) break;
      const std::span<const std::uint32_t> found{scratch_.indices.data(), static_cast<std::size_t>(count)};
      double mass = 0;
      for (const std::uint32_t token : found) mass += static_cast<double>(scratch_.weights[token]);
      if (tokens < all && mass < (sampling_.top_p + 1e-5) * total_) continue;  // weights are good to 1e-6
      list(found);
      return true;
    }
    lowest_ = last_of_top_p();
    return false;
  }

  // The logit of the last token of top-p, without sorting all: buckets of logits are added up from the
  // highest down, and the one where the sum reaches top_p is sorted.
  float last_of_top_p() {
    const float per_unit = static_cast<float>(scale_) * kBucketsPerUnit;
    scratch_.sums.assign(kBuckets, 0);
    selected_kernels().add_to_buckets(scratch_.sums.data(), scratch_.weights.data(), x_.data(), highest_,
                                      per_unit, static_cast<int>(x_.size()));
    const double goal = sampling_.top_p * std::accumulate(scratch_.sums.begin(), scratch_.sums.end(), 0.0);
    double sum = 0;
    int bucket = 0;
    for (; bucket < kBuckets && sum + scratch_.sums[static_cast<std::size_t>(bucket)] < goal; ++bucket) {
      sum += scratch_.sums[static_cast<std::size_t>(bucket)];
    }
    if (bucket == kBuckets) return kLowest;  // rounding left the sum short of the whole

    const auto logit_at = [&](double place) {
      return static_cast<double>(highest_) - place / static_cast<double>(per_unit);
    };
    const float low = bucket == kBuckets - 1 ? kLowest : std::max(kLowest, below(logit_at(bucket + 0.75)));
    const float high = bucket == 0 ? kInfinity : above(logit_at(bucket - 0.75));
    auto tokens = collect(x_, low, high, scratch_.indices);
    const auto begin = scratch_.indices.begin();
    const auto end = std::remove_if(begin, begin + static_cast<std::ptrdiff_t>(tokens.size()),
                                    [&](std::uint32_t i) { return bucket_of(x_[i], per_unit) != bucket; });
    std::sort(begin, end, [&](std::uint32_t a, std::uint32_t b) { return x_[a] > x_[b]; });
    for (auto i = begin; i != end; ++i) {
      sum += static_cast<double>(scratch_.weights[*i]);
      if (sum >= goal) return x_[*i];
    }
    return begin == end ? kLowest : x_[*(end - 1)];  // the sum was taken in another order before
  }

  // As add_to_buckets has it, operation by operation.
  int bucket_of(float logit, float per_unit) const {
    const float place = std::min((highest_ - logit) * per_unit, static_cast<float>(kBuckets - 1));
    return static_cast<int>(place + compiler::kRounder - compiler::kRounder);
  }

  // Finds the block of tokens that `random` picks, and in it the token. What weighs less than e^-87, the
  // least weight that the kernel knows, is never drawn.
  std::uint32_t one_of_many(double random) {
    weigh();
    lowest_ = std::max(lowest_, at_least(-87));
    scratch_.sums.clear();
    double total = 0;
    for (std::size_t begin = 0; begin < x_.size(); begin += kBlock) {
      const auto size = static_cast<int>(std::min(kBlock, x_.size() - begin));
      scratch_.sums.push_back(
          selected_kernels().sum_at_least(scratch_.weights.data() + begin, x_.data() + begin, lowest_, size));
      total += scratch_.sums.back();
    }
    double left = random * total;
    double before = 0;
    std::size_t block = 0;
    for (std::size_t i = 0; i < scratch_.sums.size(); ++i) {
      if (scratch_.sums[i] == 0) continue;  // none of its tokens can be drawn
      if (block != i) before += scratch_.sums[block];
      block = i;
      if (before + scratch_.sums[i] > left) break;
    }
    left -= before;
    std::size_t token = 0;
    for (std::size_t i = block * kBlock; i < std::min(x_.size(), (block + 1) * kBlock); ++i) {
      if (!(x_[i] >= lowest_)) continue;
      token = i;  // the last, if rounding leaves the sum short of the whole
      left -= static_cast<double>(scratch_.weights[i]);
      if (left < 0) break;
    }
    return static_cast<std::uint32_t>(token);
  }

  Scratch& scratch_;
  std::span<const float> x_;
  const Sampling& sampling_;
  float highest_;
  double scale_ = 1;
  float lowest_ = kLowest;
  double weighed_ = 0;  // the scale that the weights have been made with
  double total_ = 0;
};

// Of the model's own probabilities: that of the token, and the largest.
void report(std::span<const float> logits, std::size_t count, Scratch& scratch, Drawn& drawn) {
  const float highest = maximum(logits, scratch.maxima);
  scratch.weights.resize(logits.size());
  const double total = selected_kernels().weigh(scratch.weights.data(), logits.data(), highest, 1,
                                                static_cast<int>(logits.size()));
  const double log_sum = static_cast<double>(highest) + std::log(total);
  const auto logprob = [&](std::uint32_t token) { return static_cast<double>(logits[token]) - log_sum; };
  count = std::min(count, logits.size());
  const auto size = collect(logits, reached_by(count, scratch.maxima), kInfinity, scratch.indices).size();
  const auto begin = scratch.indices.begin();
  const auto end = begin + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(begin, end, begin + static_cast<std::ptrdiff_t>(size),
                    [&](std::uint32_t a, std::uint32_t b) {
                      return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
                    });
  drawn.logprob = logprob(drawn.token);
  for (auto token = begin; token != end; ++token) drawn.top.push_back({*token, logprob(*token)});
}

}  // namespace

std::optional<Drawn> sample(std::span<const float> logits, const Sampling& sampling,
                            const TokenCounts& counts, double random) {
  // A draw must not depend on whether its thread takes denormal logits as zeros.
  const FlushDenormals flush;
  thread_local Scratch scratch;
  if (logits.empty() || !bend(logits, sampling, counts, scratch.logits)) return {};
  const float highest = maximum(scratch.logits, scratch.maxima);
  if (highest == -kInfinity) return {};
  Drawn drawn;
  if (sampling.temperature > 0) {
    drawn.token = Draw(scratch, sampling, highest).token(random);
  } else {
    drawn.token = first_of(highest, scratch.logits, scratch.maxima);
  }
  if (sampling.logprobs != 0) report(logits, sampling.logprobs, scratch, drawn);
  return drawn;
}

}  // namespace wkv
