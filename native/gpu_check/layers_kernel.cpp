// All layers of a single token in one kernel.

#include "gpu_check/candidates.h"

#include <array>
#include <future>
#include <string>
#include <vector>

#include "gpu_check/checks.h"
#include "gpu_check/kernels.h"
#include "gpu_check/sessions.h"
#include "gpu_check/shapes.h"
#include "gpu_check/speeds.h"

namespace wkv::gpu_check {

namespace {

// The same model twice: the one uses the kernel where it suits, the other does not.
class Pair {
 public:
  Pair(const Library& tested, WkvCandidate candidate, const WkvCudaShape& shape)
      : apart(made(tested, candidate, shape, false)), together(made(tested, candidate, shape, true)) {}

  const RandomModel apart;
  const RandomModel together;

 private:
  static RandomModel made(const Library& tested, WkvCandidate candidate, const WkvCudaShape& shape,
                          bool layers_kernel) {
    const Use use(tested, candidate, layers_kernel);
    return RandomModel(tested, shape, true);
  }
};

// The bits of the kernels one after another, in steps of so many tokens. A step of one comes from a graph
// when there was one before.
std::string problem_of_layers_kernel(const Library& tested, WkvCandidate candidate, const Pair& pair,
                                     const std::vector<int>& steps) {
  Sessions apart(tested, pair.apart, 1);
  Sessions together(tested, pair.together, 1);
  const int before = tested.launches(candidate);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const std::vector<float>& expected = apart.step({steps[i]}, WKV_CUDA_LOGITS_LAST);
    const std::vector<float>& actual = together.step({steps[i]}, WKV_CUDA_LOGITS_LAST);
    const std::string problem = difference(actual, expected);
    if (!problem.empty()) return "step " + std::to_string(i) + ": " + problem;
  }
  if (tested.launches(candidate) == before) return "it has not run";
  return difference(together.state(0), apart.state(0));
}

// Two models on one GPU, from two threads: each has a stream of its own, and a kernel whose blocks wait for
// one another must not share the processors with the other's. Where they do, this never ends.
std::string problem_of_two_models(const Library& tested, WkvCandidate candidate, const WkvCudaShape& shape,
                                  int tokens) {
  const Pair first(tested, candidate, shape);
  const Pair second(tested, candidate, shape);
  const auto logits_of = [&](const RandomModel& model) {
    Sessions one(tested, model, 1);
    for (int i = 1; i < tokens; ++i) one.step({1}, WKV_CUDA_LOGITS_NONE);
    return one.step({1}, WKV_CUDA_LOGITS_LAST);
  };
  const std::vector<float> expected = logits_of(first.apart);
  const int before = tested.launches(candidate);
  std::future<std::vector<float>> other =
      std::async(std::launch::async, [&] { return logits_of(second.together); });
  const std::string problem = difference(logits_of(first.together), expected);
  const std::string others = difference(other.get(), expected);
  // Of the steps of each, the first is launched, and the second becomes a graph of the others.
  if (tested.launches(candidate) - before < 4) return "it has not run for both";
  return problem.empty() ? others : problem;
}

void check_layers_kernel(const Library& tested, WkvCandidate candidate, const WkvCudaShape& shape,
                         const std::string& name, Report& report) {
  report.check("all layers in one kernel, " + name, [&] {
    return problem_of_layers_kernel(tested, candidate, Pair(tested, candidate, shape),
                                    {1, 1, 1, 9, 1, 1, 1, 1});
  });
}

void check_two_models(const Library& tested, WkvCandidate candidate, const WkvCudaShape& shape, int tokens,
                      Report& report) {
  report.check("all layers in one kernel, two models at once",
               [&] { return problem_of_two_models(tested, candidate, shape, tokens); });
}

// How fast one session is with each, and many tokens bit by bit, as something may be early or late once in a
// thousand times only.
void measure_layers_kernel(const Library& tested, WkvCandidate candidate, const WkvCudaShape& shape,
                           const std::string& name, const WkvCeilings& ceilings, Report& report) {
  constexpr int kTokens = 500;
  const Pair pair(tested, candidate, shape);
  report.check(name + ", all layers in one kernel, " + std::to_string(kTokens) + " tokens", [&] {
    return problem_of_layers_kernel(tested, candidate, pair, std::vector<int>(kTokens, 1));
  });
  Sessions apart(tested, pair.apart, 1);
  Sessions together(tested, pair.together, 1);
  std::array<std::vector<double>, 2> speeds;
  for (int round = 0; round < kRounds; ++round) {
    for (const std::size_t use : {0U, 1U}) {
      Sessions& session = use == 0 ? apart : together;
      speeds[use].push_back(1 / median_seconds([&] { session.step({1}, WKV_CUDA_LOGITS_NONE); }));
    }
  }
  const double ceiling = tokens_at_most(pair.apart, ceilings, 1, WKV_CUDA_LOGITS_NONE);
  report.speed(name + ", one session, kernels one after another", median(speeds[0]), "tokens/s", ceiling);
  report.speed(name + ", one session, all layers in one kernel", median(speeds[1]), "tokens/s", ceiling);
}

}  // namespace

void try_layers_kernel(const Library& tested, WkvCandidate candidate, bool small, Report& report) {
  if (tested.can_use(candidate) == 0) {
    report.skip("all layers in one kernel", "this GPU has no room for it, or cannot copy so");
    return;
  }
  check_layers_kernel(tested, candidate, shape_of(2, 512, 8, 64, 768, 101, 16), "512 channels", report);
  if (small) {
    check_two_models(tested, candidate, shape_of(2, 512, 8, 64, 768, 101, 16), 4, report);
    return;
  }
  check_layers_kernel(tested, candidate, shape_of(3, 1024, 16, 64, 3584, 1000, 16), "1,024 channels", report);
  check_layers_kernel(tested, candidate, shape_of(3, 2560, 40, 64, 8960, 1000, 16), "2,560 channels", report);
  check_layers_kernel(tested, candidate, shape_of(3, 4096, 64, 64, 14'336, 1000, 16), "4,096 channels",
                      report);
  const WkvCeilings ceilings = measure_ceilings(tested, report);
  for (const auto& [name, shape] : published_shapes()) {
    report.measure(name, [&, name = name, shape = shape] {
      measure_layers_kernel(tested, candidate, shape, name, ceilings, report);
    });
  }
  check_two_models(tested, candidate, shape_of(3, 4096, 64, 64, 14'336, 1000, 16), 500, report);
}

}  // namespace wkv::gpu_check
