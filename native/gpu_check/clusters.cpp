// Products of prompts by clusters of blocks.

#include "gpu_check/candidates.h"

#include <array>
#include <string>
#include <vector>

#include "gpu_check/checks.h"
#include "gpu_check/kernels.h"
#include "gpu_check/sessions.h"
#include "gpu_check/shapes.h"
#include "gpu_check/speeds.h"

namespace wkv::gpu_check {

namespace {

// The bits of the others.
std::string problem_of_clusters(const Library& tested, bool small) {
  const int before = tested.launches(WKV_CLUSTERS);
  int products = 0;
  for (const auto& [tokens, rows, columns, group] : {std::array{512, 4096, 1024, 256},
                                                     {384, 3900, 2048, 128},
                                                     {1024, 2000, 2304, 256},
                                                     {640, 4096, 256, 256}}) {
    const int part = small ? 4 : 1;
    const auto product = [&](bool clusters) {
      const Use use(tested, WKV_CLUSTERS, clusters);
      return gemm_alone(tested, 8, tokens / part, rows / part, columns, group);
    };
    const std::vector<float> expected = product(false);
    const std::string problem = difference(product(true), expected);
    if (!problem.empty()) return problem;
    ++products;
  }
  return tested.launches(WKV_CLUSTERS) - before == products ? "" : "they did not do all products";
}

// Those of many prompts, as something may be early or late once in a thousand times only.
std::string problem_of_prompts(const Library& tested, const RandomModel& model) {
  constexpr int kPrompts = 20;
  Sessions blocks_alone(tested, model, 1);
  Sessions clusters(tested, model, 1);
  for (int i = 0; i < kPrompts; ++i) {
    const std::vector<float>& expected = blocks_alone.step({model.shape().max_tokens}, WKV_CUDA_LOGITS_LAST);
    const Use use(tested, WKV_CLUSTERS, true);
    const std::vector<float>& actual = clusters.step({model.shape().max_tokens}, WKV_CUDA_LOGITS_LAST);
    const std::string problem = difference(actual, expected);
    if (!problem.empty()) return "prompt " + std::to_string(i) + ": " + problem;
  }
  return difference(clusters.state(0), blocks_alone.state(0));
}

// How fast prompts are with each.
void measure_clusters(const Library& tested, const WkvCudaShape& shape, const std::string& name,
                      Report& report) {
  const RandomModel model(tested, shape, true);
  Sessions one(tested, model, 1);
  for (const int tokens : {shape.max_tokens / 2, shape.max_tokens}) {
    std::array<std::vector<double>, 2> speeds;
    for (int round = 0; round < 2 * kRounds; ++round) {
      const bool clusters = round % 2 == 1;
      const Use use(tested, WKV_CLUSTERS, clusters);
      speeds[clusters ? 1 : 0].push_back(tokens /
                                         median_seconds([&] { one.step({tokens}, WKV_CUDA_LOGITS_NONE); }));
    }
    const std::string prompt = name + ", a prompt by " + std::to_string(tokens);
    report.speed(prompt + ", blocks alone", median(speeds[0]), "tokens/s", 0);
    report.speed(prompt + ", clusters", median(speeds[1]), "tokens/s", 0);
  }
  report.check(name + ", prompts by clusters", [&] { return problem_of_prompts(tested, model); });
}

}  // namespace

void try_clusters(const Library& tested, bool small, Report& report) {
  if (tested.can_use(WKV_CLUSTERS) == 0) {
    report.skip("clusters", "this GPU has none");
    return;
  }
  report.check("products by clusters", [&] { return problem_of_clusters(tested, small); });
  if (small) return;
  for (const auto& [name, shape] : published_shapes()) {
    report.measure(name, [&, name = name, shape = shape] { measure_clusters(tested, shape, name, report); });
  }
}

}  // namespace wkv::gpu_check
