#include "gpu_check/candidates.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include "gpu_check/checks.h"
#include "gpu_check/kernels.h"
#include "gpu_check/sessions.h"
#include "gpu_check/shapes.h"
#include "gpu_check/speeds.h"

namespace wkv::gpu_check {

namespace {

constexpr int kRounds = 3;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The bits of the others.
void check_clusters(const Library& tested, bool small, Report& report) {
  std::string problem;
  for (const auto& [tokens, rows, columns, group] : {std::array{512, 4096, 1024, 256},
                                                     {384, 3900, 2048, 128},
                                                     {1024, 2000, 2304, 256},
                                                     {640, 4096, 256, 256}}) {
    if (!problem.empty()) break;
    const int part = small ? 4 : 1;
    const auto product = [&](bool clusters) {
      tested.use(WKV_CLUSTERS, clusters ? 1 : 0);
      return gemm_int8_alone(tested, tokens / part, rows / part, columns, group);
    };
    const std::vector<float> expected = product(false);
    problem = difference(product(true), expected);
  }
  tested.use(WKV_CLUSTERS, 0);
  report.check("products by clusters", problem);
}

// How fast prompts are with each.
void measure_clusters(const Library& tested, const WkvCudaShape& shape, const std::string& name,
                      Report& report) {
  const RandomModel model(tested, shape, true);
  Sessions one(tested, model, 1);
  for (const int tokens : {shape.max_tokens / 2, shape.max_tokens}) {
    std::array<std::vector<double>, 2> speeds;
    for (int round = 0; round < 2 * kRounds; ++round) {
      const int use = round % 2;
      tested.use(WKV_CLUSTERS, use);
      speeds[static_cast<std::size_t>(use)].push_back(
          tokens / mean_seconds([&] { one.step({tokens}, WKV_CUDA_LOGITS_NONE); }));
    }
    tested.use(WKV_CLUSTERS, 0);
    const std::string prompt = name + ", a prompt by " + std::to_string(tokens);
    report.speed(prompt + ", blocks alone", median(speeds[0]), "tokens/s", 0);
    report.speed(prompt + ", clusters", median(speeds[1]), "tokens/s", 0);
  }
}

// A session of a model that uses the kernel where it suits, or does not.
class OneSession {
 public:
  OneSession(const Library& tested, const WkvCudaShape& shape, bool layers_kernel)
      : model_(made(tested, shape, layers_kernel)), session_(tested, model_, 1) {
    tested.use(WKV_LAYERS_KERNEL, 0);
  }

  const RandomModel& model() const { return model_; }
  Sessions& session() { return session_; }

 private:
  static RandomModel made(const Library& tested, const WkvCudaShape& shape, bool layers_kernel) {
    tested.use(WKV_LAYERS_KERNEL, layers_kernel ? 1 : 0);
    return RandomModel(tested, shape, true);
  }

  RandomModel model_;
  Sessions session_;
};

// The bits of the kernels one after another: after a prompt, and as a graph, too.
void check_layers_kernel(const Library& tested, const WkvCudaShape& shape, const std::string& name,
                         Report& report) {
  OneSession alone(tested, shape, false);
  OneSession together(tested, shape, true);
  std::string problem;
  const int before = tested.layers_kernel_launches();
  for (const int tokens : {1, 1, 1, 9, 1, 1, 1, 1}) {
    const std::vector<float>& expected = alone.session().step({tokens}, WKV_CUDA_LOGITS_LAST);
    const std::vector<float>& actual = together.session().step({tokens}, WKV_CUDA_LOGITS_LAST);
    if (problem.empty()) problem = difference(actual, expected);
  }
  if (problem.empty()) problem = difference(together.session().state(0), alone.session().state(0));
  if (tested.layers_kernel_launches() == before) problem = "it has not run";
  report.check("all layers in one kernel, " + name, problem);
}

// How fast one session is with each.
void measure_layers_kernel(const Library& tested, const WkvCudaShape& shape, const std::string& name,
                           const WkvCeilings& ceilings, Report& report) {
  OneSession alone(tested, shape, false);
  OneSession together(tested, shape, true);
  std::array<std::vector<double>, 2> speeds;
  const int before = tested.layers_kernel_launches();
  for (int round = 0; round < kRounds; ++round) {
    for (const int use : {0, 1}) {
      Sessions& session = (use == 0 ? alone : together).session();
      speeds[static_cast<std::size_t>(use)].push_back(
          1 / mean_seconds([&] { session.step({1}, WKV_CUDA_LOGITS_NONE); }));
    }
  }
  // Once alone, once into a graph.
  report.check(name + ", one session, uses it",
               tested.layers_kernel_launches() == before + 2 ? "" : "it does not");
  const double ceiling = tokens_at_most(alone.model(), ceilings, 1, WKV_CUDA_LOGITS_NONE);
  report.speed(name + ", one session, kernels one after another", median(speeds[0]), "tokens/s", ceiling);
  report.speed(name + ", one session, all layers in one kernel", median(speeds[1]), "tokens/s", ceiling);
}

}  // namespace

void try_clusters(const Library& tested, bool small, Report& report) {
  if (tested.has_wide_products() == 0) {
    std::printf("This GPU has no clusters.\n");
    return;
  }
  check_clusters(tested, small, report);
  if (small) return;
  for (auto [name, shape] : published_shapes()) {
    shape.max_tokens = 1024;
    measure_clusters(tested, shape, name, report);
  }
}

void try_layers_kernel(const Library& tested, bool small, Report& report) {
  if (tested.has_layers_kernel() == 0) {
    std::printf("This GPU has no room for it.\n");
    return;
  }
  check_layers_kernel(tested, shape_of(2, 512, 8, 64, 768, 101, 16), "512 channels", report);
  if (small) return;
  check_layers_kernel(tested, shape_of(3, 1024, 16, 64, 3584, 1000, 16), "1,024 channels", report);
  check_layers_kernel(tested, shape_of(3, 2560, 40, 64, 8960, 1000, 16), "2,560 channels", report);
  check_layers_kernel(tested, shape_of(3, 4096, 64, 64, 14'336, 1000, 16), "4,096 channels", report);
  const WkvCeilings ceilings = measure_ceilings(tested, report);
  for (const auto& [name, shape] : published_shapes()) {
    measure_layers_kernel(tested, shape, name, ceilings, report);
  }
}

}  // namespace wkv::gpu_check
