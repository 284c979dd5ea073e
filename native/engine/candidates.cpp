#include "engine/candidates.h"

#include <algorithm>
#include <cmath>

namespace wkv {

double inverse(double temperature) { return std::min(1 / temperature, 1e30); }

bool narrows(SamplingStep step, const Sampling& sampling, std::size_t tokens) {
  switch (step) {
    case SamplingStep::kTopP:
      return sampling.top_p < 1;
    case SamplingStep::kTopK:
      return sampling.top_k != 0 && sampling.top_k < tokens;
    case SamplingStep::kMinP:
      return sampling.min_p > 0;
    case SamplingStep::kTypicalP:
      return sampling.typical_p < 1;
    case SamplingStep::kTemperature:
      return false;
  }
  return false;
}

// Also moves the logarithms so that the highest is 0. What is too small for a normal double is 0, whether or
// not the thread flushes denormals, so that all threads draw alike.
double Candidates::weigh() {
  double highest = list_.front().x;
  for (const Candidate& candidate : list_) highest = std::max(highest, candidate.x);
  double total = 0;
  for (Candidate& candidate : list_) {
    candidate.x -= highest;
    candidate.weight = candidate.x < -700 ? 0 : std::exp(candidate.x);
    total += candidate.weight;
  }
  return total;
}

template <class Predicate>
void Candidates::keep(Predicate stays) {
  list_.erase(std::remove_if(list_.begin(), list_.end(),
                             [&](const Candidate& candidate) { return !stays(candidate); }),
              list_.end());
}

// The largest key of the fewest of keyed_ whose weights reach `mass`, in ascending order of keys: halves the
// part where that happens, which takes time in proportion to all, and sorts what is left.
double Candidates::last_key(double mass) {
  const auto ascending = [](const Keyed& a, const Keyed& b) { return a.key < b.key; };
  auto begin = keyed_.begin();
  auto end = keyed_.end();
  while (end - begin > 64) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, ascending);
    double sum = 0;
    for (auto i = begin; i != middle; ++i) sum += i->weight;
    if (sum >= mass) {
      end = middle;
    } else {
      mass -= sum;
      begin = middle;
    }
  }
  std::sort(begin, end, ascending);
  for (; begin != end - 1; ++begin) {
    mass -= begin->weight;
    if (mass <= 0) break;
  }
  return begin->key;
}

void Candidates::top_k(std::uint32_t count) {
  if (count >= list_.size()) return;
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.x > b.x || (a.x == b.x && a.token < b.token);
  };
  sorted_ = list_;
  const auto last = sorted_.begin() + static_cast<std::ptrdiff_t>(count) - 1;
  std::nth_element(sorted_.begin(), last, sorted_.end(), before);
  keep([&](const Candidate& candidate) { return !before(*last, candidate); });
}

void Candidates::typical(double mass) {
  const double total = weigh();
  const double log_total = std::log(total);
  double entropy = 0;
  for (const Candidate& candidate : list_) entropy += candidate.weight / total * (log_total - candidate.x);
  const auto key = [&](const Candidate& candidate) { return std::fabs(log_total - candidate.x - entropy); };
  keyed_.clear();
  for (const Candidate& candidate : list_) keyed_.push_back({key(candidate), candidate.weight});
  const double last = last_key(mass * total);
  keep([&](const Candidate& candidate) { return key(candidate) <= last; });
}

void Candidates::apply(SamplingStep step, const Sampling& sampling, double total) {
  if (step == SamplingStep::kTemperature) {
    weigh();  // differences to the highest are multiplied: no product is too large where it matters
    for (Candidate& candidate : list_) candidate.x *= inverse(sampling.temperature);
    return;
  }
  if (!narrows(step, sampling, list_.size())) return;
  if (step == SamplingStep::kTopK) return top_k(sampling.top_k);
  if (step == SamplingStep::kTypicalP) return typical(sampling.typical_p);
  const double sum = weigh();
  double last = -std::log(sampling.min_p);
  if (step == SamplingStep::kTopP) {
    keyed_.clear();
    for (const Candidate& candidate : list_) keyed_.push_back({-candidate.x, candidate.weight});
    last = last_key(sampling.top_p * (total > 0 ? total : sum));
  }
  keep([&](const Candidate& candidate) { return -candidate.x <= last; });
}

std::uint32_t Candidates::draw(double random) {
  double left = random * weigh();
  std::uint32_t token = 0;
  for (const Candidate& candidate : list_) {
    if (candidate.weight == 0) continue;
    token = candidate.token;  // the last, if rounding leaves the sum short of the whole
    left -= candidate.weight;
    if (left < 0) break;
  }
  return token;
}

}  // namespace wkv
