// scripts/gpu-check builds and runs this: what a GPU computes, bit by bit beside the simulated one, and how
// fast it is beside what it can do at most.
//
//   wkv_gpu_check PART LIBRARY SIMULATED REPORT.json [--small]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "gpu_check/candidates.h"
#include "gpu_check/checks.h"
#include "gpu_check/shapes.h"
#include "gpu_check/speeds.h"

namespace wkv::gpu_check {

namespace {

constexpr std::pair<WkvCudaArchitecture, const char*> kOthers[] = {{WKV_CUDA_RWKV4, "RWKV-4"},
                                                                   {WKV_CUDA_RWKV5_0, "RWKV-5.0"},
                                                                   {WKV_CUDA_RWKV6, "RWKV-6"},
                                                                   {WKV_CUDA_RWKV7, "RWKV-7"}};

// Gives the LoRA matrices that the architecture has one width.
void set_ranks(WkvCudaShape& shape, int rank) {
  const bool is_6 = shape.architecture == WKV_CUDA_RWKV6;
  const bool is_7 = shape.architecture == WKV_CUDA_RWKV7;
  if (is_6) shape.mix_rank = rank;
  if (is_6 || is_7) shape.decay_rank = rank;
  if (is_7) shape.rate_rank = shape.gate_rank = rank;
  if (is_7 && shape.layers > 1) shape.value_rank = rank;
}

void check_all(const Library& tested, const Library& simulated, bool small, Report& report) {
  check_instructions(tested, simulated, small, report);
  check_kernels(tested, simulated, report);
  check_model(tested, simulated, shape_of(2, 128, 2, 64, 448, 300, 40), "heads of 64", report);
  check_model(tested, simulated, shape_of(1, 72, 3, 20, 250, 101, 40), "heads of 20, odd widths", report);
  if (!small)
    check_model(tested, simulated, shape_of(1, 1024, 16, 64, 3584, 2000, 40), "1,024 channels", report);
  check_model(tested, simulated, shape_of(1, 72, 3, 20, 250, 101, 40), "int4, odd widths", report, 4);
  check_model(tested, simulated, shape_of(2, 128, 2, 64, 448, 300, 40), "int4, heads of 64", report, 4);
  const auto of_architecture = [](WkvCudaShape changed, WkvCudaArchitecture architecture, int rank) {
    changed.architecture = architecture;
    if (architecture == WKV_CUDA_RWKV4) {
      changed.heads *= changed.head_size;
      changed.head_size = 1;
    }
    set_ranks(changed, rank);
    return changed;
  };
  const WkvCudaShape few =
      small ? shape_of(1, 128, 2, 64, 250, 101, 12) : shape_of(1, 512, 8, 64, 1792, 1000, 64);
  check_batches(tested, few, "RWKV-5.2", report);
  check_pieces(tested, few, "RWKV-5.2", report);
  if (!small) {
    // So large that many tokens have kernels of their own, for groups of 64, 128 and 256.
    check_batches(tested, shape_of(1, 1024, 16, 64, 1984, 1000, 512), "RWKV-5.2, 1,024 channels", report);
    const std::pair<const char*, WkvCudaShape> large[] = {
        {"RWKV-5.2, 2,048 channels", shape_of(1, 2048, 32, 64, 7168, 1000, 256)},
        {"RWKV-5.2, 4,096 channels", shape_of(1, 4096, 64, 64, 14'336, 1000, 256)}};
    for (const auto& [name, model] : large) {
      check_batches(tested, model, name, report);
      check_pieces(tested, model, name, report);
    }
    const auto& [name, model] = large[1];
    check_batches(tested, model, std::string("int4, ") + name, report, 4);
    check_pieces(tested, model, std::string("int4, ") + name, report, 4);
  }
  for (const auto& [architecture, name] : kOthers) {
    const std::string version = name;
    if (!small) {
      check_model(tested, simulated, of_architecture(shape_of(2, 128, 2, 64, 250, 101, 40), architecture, 33),
                  version + ", heads of 64", report);
      check_batches(tested, of_architecture(few, architecture, 24), version, report);
    }
    check_model(tested, simulated, of_architecture(shape_of(2, 44, 2, 20, 250, 101, 40), architecture, 11),
                version + ", heads of 20", report);
  }
  if (!small) {
    // So wide that LoRA matrices and mixes have the forms that large models have.
    check_model(tested, simulated, of_architecture(shape_of(1, 640, 1, 64, 64, 101, 40), WKV_CUDA_RWKV6, 40),
                "RWKV-6, 640 channels", report);
    check_model(tested, simulated, of_architecture(shape_of(1, 6080, 1, 64, 64, 101, 44), WKV_CUDA_RWKV7, 40),
                "RWKV-7, 6,080 channels", report);
  }
}

void measure_all(const Library& tested, Report& report) {
  const WkvCeilings ceilings = measure_ceilings(tested, report);
  const auto measure = [&](const std::string& name, const WkvCudaShape& shape, int bits) {
    report.measure(name, [&] { measure_model(tested, shape, name, ceilings, report, bits); });
  };
  const auto shapes = published_shapes();
  for (const auto& [name, shape] : shapes) measure(name, shape, 8);
  measure(std::string(shapes.back().first) + " in int4", shapes.back().second, 4);
}

struct Options {
  std::string part;
  std::string library;
  std::string simulated;
  std::string report;
  bool small = false;
};

// The simulated library, with the kernels that the tested one has on this GPU.
Library simulated_for(const Library& tested, const WkvCudaDevice& device, const std::string& path) {
  constexpr int kWide = 90;
  const int own = 10 * device.major + device.minor;
  const int simulated_one = tested.has_wide_products() != 0 ? kWide : own == kWide ? 80 : own;
  const std::string settings = "architecture=" + std::to_string(simulated_one);
  setenv("WKV_SIMULATED_GPU", settings.c_str(), 1);
  return Library(path);
}

struct Part {
  const char* name;
  void (*run)(const Options& options, const Library& tested, const WkvCudaDevice& device, Report& report);
};

constexpr Part kParts[] = {
    {"checks",
     [](const Options& options, const Library& tested, const WkvCudaDevice& device, Report& report) {
       check_all(tested, simulated_for(tested, device, options.simulated), options.small, report);
     }},
    {"speeds",
     [](const Options& options, const Library& tested, const WkvCudaDevice&, Report& report) {
       if (options.small) {
         report.skip("speeds", "a simulated GPU has none");
       } else {
         measure_all(tested, report);
       }
     }},
    {"layers-bulk",
     [](const Options& options, const Library& tested, const WkvCudaDevice&, Report& report) {
       try_layers_kernel(tested, WKV_LAYERS_BULK, options.small, report);
     }},
    {"layers-lanes",
     [](const Options& options, const Library& tested, const WkvCudaDevice&, Report& report) {
       try_layers_kernel(tested, WKV_LAYERS_LANES, options.small, report);
     }},
    {"clusters", [](const Options& options, const Library& tested, const WkvCudaDevice&, Report& report) {
       try_clusters(tested, options.small, report);
     }}};

int run(const Options& options) {
  const Part* const part = std::find_if(std::begin(kParts), std::end(kParts),
                                        [&](const Part& each) { return options.part == each.name; });
  if (part == std::end(kParts)) throw std::runtime_error("there is no part " + options.part);
  const Library tested(options.library);
  WkvCudaFailure failure{};
  WkvCudaDevice device{};
  must(tested.api->describe_device(0, &device, &failure), failure);
  std::printf("%s: %s, compute capability %d.%d, %.1f GiB\n\n", part->name, device.name, device.major,
              device.minor, static_cast<double>(device.memory) / (1 << 30));
  Report report(options.report, device);
  part->run(options, tested, device, report);
  std::printf("\n%s; %s\n\n", report.failed() == 0 ? "All is well" : "SOMETHING FAILED",
              options.report.c_str());
  return report.failed() == 0 ? 0 : 1;
}

}  // namespace

}  // namespace wkv::gpu_check

int main(int count, char** arguments) {
  const std::vector<std::string> words(arguments + 1, arguments + count);
  const bool small = words.size() == 5 && words[4] == "--small";
  if (words.size() != 4 && !small) {
    std::fprintf(stderr, "Usage: %s PART LIBRARY SIMULATED REPORT.json [--small]\n", arguments[0]);
    return 2;
  }
  try {
    return wkv::gpu_check::run({words[0], words[1], words[2], words[3], small});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
