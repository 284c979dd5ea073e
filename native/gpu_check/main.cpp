// scripts/gpu-check builds and runs this: what a GPU computes, bit by bit beside the simulated one, and how
// fast it is beside what it can do at most.
//
//   wkv_gpu_check LIBRARY SIMULATED REPORT.json [--small]

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <string>

#include "gpu_check/kernels.h"
#include "gpu_check/sessions.h"

namespace wkv::gpu_check {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// What was found, for the terminal and as JSON. Names and texts are this program's own: nothing needs escapes
// but what the driver calls a GPU.
struct Report {
  std::string checks;
  std::string speeds;
  int failed = 0;

  void check(const std::string& name, const std::string& problem) {
    std::printf("%-7s %s%s%s\n", problem.empty() ? "ok" : "FAILED", name.c_str(), problem.empty() ? "" : ": ",
                problem.c_str());
    std::fflush(stdout);
    failed += problem.empty() ? 0 : 1;
    append(checks, "{\"name\": \"" + name + "\", \"problem\": \"" + escaped(problem) + "\"}");
  }
  void speed(const std::string& name, double value, const std::string& unit, double ceiling) {
    const bool has_ceiling = ceiling > 0;
    std::printf("%-52s %12.4g %-12s", name.c_str(), value, unit.c_str());
    if (has_ceiling) std::printf(" %5.1f %% of the ceiling", 100 * value / ceiling);
    std::printf("\n");
    std::fflush(stdout);
    append(speeds, "{\"name\": \"" + name + "\", \"value\": " + std::to_string(value) + ", \"unit\": \"" +
                       unit + "\", \"ceiling\": " + (has_ceiling ? std::to_string(ceiling) : "null") + "}");
  }
  static std::string escaped(const std::string& text) {
    std::string result;
    for (const char c : text) {
      if (c == '"' || c == '\\') result += '\\';
      if (c >= ' ') result += c;
    }
    return result;
  }

 private:
  static void append(std::string& list, const std::string& item) {
    list += (list.empty() ? "\n    " : ",\n    ") + item;
  }
};

const char* name_of_output(int word) {
  constexpr std::pair<int, const char*> kNames[] = {{kToF16, "to_f16"},
                                                    {kWide, "multiply_wide"},
                                                    {kRows, "load_rows"},
                                                    {kWarpSum, "warp_sum"},
                                                    {kCopied, "begin_copy"},
                                                    {kFromInteger, "integer to float"},
                                                    {kSigmoid, "sigmoid"},
                                                    {kExponential, "exp"},
                                                    {kFromF16, "from_f16"},
                                                    {kNearest, "nearest"},
                                                    {kPlus, "+"},
                                                    {kTimes, "*"},
                                                    {kRoot, "root"},
                                                    {kQuotient, "/"},
                                                    {kFused, "fused"},
                                                    {kShuffled, "shuffle_xor"},
                                                    {kProduct, "multiply_add"}};
  for (const auto& [first, name] : kNames) {
    if (word >= first) return name;
  }
  return "";
}

// Every instruction on random operands: equal bit by bit.
void check_instructions(const Library& tested, const Library& simulated, bool small, Report& report) {
  const int cases = small ? 64 : 4096;
  Random random(3);
  std::vector<std::uint32_t> input(static_cast<std::size_t>(cases) * kLaneCount * kInputWords);
  for (std::uint32_t& word : input) word = random.word();
  std::vector<std::uint32_t> actual(static_cast<std::size_t>(cases) * kLaneCount * kOutputWords);
  std::vector<std::uint32_t> expected(actual.size());
  const int error = tested.run_instructions(input.data(), actual.data(), cases);
  if (error != 0) {
    report.check("instructions", "CUDA error " + std::to_string(error));
    return;
  }
  static_cast<void>(simulated.run_instructions(input.data(), expected.data(), cases));
  std::string problem;
  for (int word = 0; word < kOutputWords; ++word) {
    int wrong = 0;
    for (std::size_t lane = 0; lane < actual.size() / kOutputWords; ++lane) {
      const std::size_t place = lane * kOutputWords + static_cast<std::size_t>(word);
      wrong += actual[place] == expected[place] ? 0 : 1;
    }
    if (wrong > 0)
      problem += std::string(name_of_output(word)) + " differs " + std::to_string(wrong) + " times; ";
  }
  report.check("instructions, " + std::to_string(cases * kLaneCount) + " lanes", problem);
}

std::string difference(const std::vector<float>& actual, const std::vector<float>& expected) {
  if (actual.size() != expected.size()) return "sizes differ";
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::bit_cast<std::uint32_t>(actual[i]) == std::bit_cast<std::uint32_t>(expected[i])) continue;
    return "at " + std::to_string(i) + ": " + std::to_string(actual[i]) + ", simulated " +
           std::to_string(expected[i]);
  }
  return "";
}

// Kernels alone, of the forms that there are: equal bit by bit.
void check_kernels(const Library& tested, const Library& simulated, Report& report) {
  std::string problem;
  for (const auto& [batch, tokens, heads, size] :
       {std::array{3, 1, 2, 64}, {2, 40, 2, 64}, {2, 9, 3, 20}, {1, 2, 1, 300}}) {
    if (!problem.empty()) break;
    problem = difference(wkv5_alone(tested, batch, tokens, heads, size),
                         wkv5_alone(simulated, batch, tokens, heads, size));
  }
  report.check("wkv5 alone", problem);
  problem.clear();
  for (const auto& [tokens, rows, columns, group] :
       {std::array{1, 33, 64, 64}, {7, 5, 112, 32}, {40, 64, 256, 64}, {200, 130, 512, 128}}) {
    if (!problem.empty()) break;
    problem = difference(gemm_int8_alone(tested, tokens, rows, columns, group),
                         gemm_int8_alone(simulated, tokens, rows, columns, group));
  }
  report.check("gemm_int8 alone", problem);
}

// A whole model, prompts and single tokens of several sessions, on both: equal bit by bit.
void check_model(const Library& tested, const Library& simulated, const WkvCudaShape& shape,
                 const std::string& name, Report& report) {
  const RandomModel on_gpu(tested, shape, false);
  const RandomModel on_cpu(simulated, shape, false);
  Sessions of_gpu(tested, on_gpu, 3);
  Sessions of_cpu(simulated, on_cpu, 3);
  std::string problem;
  // Equal steps of single tokens are a graph from the second on.
  for (const std::vector<int>& counts : {std::vector<int>{1, 0, 0},
                                         {7, 20, 1},
                                         {1, 1, 1},
                                         {1, 1, 1},
                                         {0, 9, 1},
                                         {shape.max_tokens - 1, 0, 0},
                                         {1, 1, 1},
                                         {1, 1, 1}}) {
    const std::vector<float>& actual = of_gpu.step(counts, WKV_CUDA_LOGITS_ALL);
    const std::vector<float>& expected = of_cpu.step(counts, WKV_CUDA_LOGITS_ALL);
    if (problem.empty()) problem = difference(actual, expected);
  }
  for (int i = 0; i < 12; ++i) {
    WkvCudaDraw options{};
    options.temperature = i % 4;
    options.top_p = i % 3 == 0 ? 1 : 0.85;
    options.top_k = i % 5 == 0 ? 20 : 0;
    options.min_p = i % 2 == 0 ? 0 : 0.01;
    const bool same = of_gpu.draw({1, 2, 1}, options) == of_cpu.draw({1, 2, 1}, options);
    if (problem.empty() && !same) problem = "the tokens of draw " + std::to_string(i) + " differ";
  }
  const auto compare_states = [&](const char* what) {
    for (std::size_t session = 0; session < 3 && problem.empty(); ++session) {
      problem = difference(of_gpu.state(session), of_cpu.state(session));
      if (!problem.empty()) problem.insert(0, what);
    }
  };
  compare_states("state ");
  of_gpu.pack_and_unpack();
  of_cpu.pack_and_unpack();
  // The step reads the states at once.
  const std::vector<float>& after = of_gpu.step({1, 9, 1}, WKV_CUDA_LOGITS_ALL);
  if (problem.empty()) problem = difference(after, of_cpu.step({1, 9, 1}, WKV_CUDA_LOGITS_ALL));
  compare_states("state that was packed ");
  report.check(name, problem);
}

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

// A session beside others has the bits that it has alone, and so have the others, who have the same tokens.
void check_batches(const Library& tested, const WkvCudaShape& shape, const std::string& name,
                   Report& report) {
  const RandomModel model(tested, shape, true);
  const int others = shape.max_segments - 1;
  std::string problem;
  std::vector<float> alone;
  for (const int beside : {0, 1, 7, 8, others / 2, others}) {
    Sessions sessions(tested, model, beside + 1, Sessions::Tokens::kSame);
    const std::vector<float>& logits =
        sessions.step(std::vector<int>(static_cast<std::size_t>(beside + 1), 1), WKV_CUDA_LOGITS_LAST);
    if (beside == 0) alone = logits;
    for (int i = 0; i <= beside && problem.empty(); ++i) {
      const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(i) * shape.vocabulary;
      problem = difference({begin, begin + shape.vocabulary}, alone);
    }
  }
  report.check(name + ", a session alone and beside up to " + std::to_string(others) + " others", problem);
}

// A prompt at once leaves the bits that it leaves in small pieces.
void check_pieces(const Library& tested, const WkvCudaShape& shape, const std::string& name, Report& report) {
  constexpr int kPiece = 8;
  const RandomModel model(tested, shape, true);
  Sessions at_once(tested, model, 1);
  const std::vector<float>& logits = at_once.step({shape.max_tokens}, WKV_CUDA_LOGITS_LAST);
  Sessions in_pieces(tested, model, 1);
  for (int first = 0; first < shape.max_tokens; first += kPiece) {
    in_pieces.step({std::min(kPiece, shape.max_tokens - first)}, WKV_CUDA_LOGITS_LAST);
  }
  std::string problem = difference(logits, in_pieces.logits());
  if (problem.empty()) problem = difference(at_once.state(0), in_pieces.state(0));
  report.check(name + ", " + std::to_string(shape.max_tokens) + " tokens at once and by eights", problem);
}

// The mean of steps over about a second, after two that warm up.
double mean_seconds(const std::function<void()>& step) {
  for (int i = 0; i < 2; ++i) step();
  const auto begin = Clock::now();
  int steps = 0;
  do {
    step();
    ++steps;
  } while (seconds_since(begin) < 1);
  return seconds_since(begin) / steps;
}

void measure_model(const Library& tested, const WkvCudaShape& shape, const std::string& name,
                   const WkvCeilings& ceilings, Report& report) {
  const RandomModel model(tested, shape, true);
  const double weights = static_cast<double>(model.weight_bytes());
  const double state = 2.0 * static_cast<double>(model.page_floats()) * sizeof(float);
  report.speed(name + ", weights to the GPU", weights / model.load_seconds(), "bytes/s", ceilings.upload);
  for (const int sessions : {1, 8, 32, 128, 256, 512}) {
    if (sessions > shape.max_segments) break;
    try {
      Sessions all(tested, model, sessions);
      const std::vector<int> counts(static_cast<std::size_t>(sessions), 1);
      const std::string decoding = name + ", decoding " + std::to_string(sessions);
      for (const WkvCudaLogits logits : {WKV_CUDA_LOGITS_NONE, WKV_CUDA_LOGITS_LAST}) {
        const std::string what = logits == WKV_CUDA_LOGITS_NONE ? ", without logits" : ", logits to the host";
        const double seconds = mean_seconds([&] { all.step(counts, logits); });
        // Each weight is read once for all sessions (without logits, but for the head), each state read and
        // written.
        const double head = logits == WKV_CUDA_LOGITS_NONE
                                ? static_cast<double>(shape.vocabulary) * static_cast<double>(shape.channels)
                                : 0;
        const double least = (weights - head) / ceilings.read + sessions * state / ceilings.copy;
        report.speed(decoding + what, sessions / seconds, "tokens/s",
                     ceilings.read > 0 ? sessions / least : 0);
      }
      WkvCudaDraw options{};
      options.temperature = 1;
      options.top_p = 0.85;
      const double seconds = mean_seconds([&] { all.draw(counts, options); });
      report.speed(decoding + ", tokens drawn", sessions / seconds, "tokens/s", 0);
    } catch (const std::exception& error) {
      std::printf("%s, decoding %d: not measured, because %s\n", name.c_str(), sessions, error.what());
    }
  }
  try {
    constexpr int kLive = 2'000;
    constexpr int kTogether = 500;
    Sessions all(tested, model, kLive);
    int next = 0;
    const double seconds = mean_seconds([&] {
      std::vector<int> counts(kLive);
      std::fill_n(counts.begin() + next, kTogether, 1);
      next = (next + kTogether) % kLive;
      all.step(counts, WKV_CUDA_LOGITS_NONE);
    });
    report.speed(name + ", decoding 500 of 2,000 live sessions in turn", kTogether / seconds, "tokens/s", 0);
  } catch (const std::exception& error) {
    std::printf("%s, 2,000 live sessions: not measured, because %s\n", name.c_str(), error.what());
  }
  Sessions one(tested, model, 1);
  const double seconds = mean_seconds([&] { one.step({shape.max_tokens}, WKV_CUDA_LOGITS_NONE); });
  const double head = static_cast<double>(shape.vocabulary) * static_cast<double>(shape.channels);
  const double operations = 2 * (weights - head) * shape.max_tokens;
  report.speed(name + ", a prompt by " + std::to_string(shape.max_tokens), shape.max_tokens / seconds,
               "tokens/s",
               ceilings.operations > 0 ? shape.max_tokens / (operations / ceilings.operations) : 0);
}

// Products by clusters, which nothing uses before they have been measured: the bits of the others, and how
// fast prompts are with each, by turns.
void check_clusters(const Library& tested, bool small, Report& report) {
  std::string problem;
  for (const auto& [tokens, rows, columns, group] : {std::array{512, 4096, 1024, 256},
                                                     {384, 3900, 2048, 128},
                                                     {1024, 2000, 2304, 256},
                                                     {640, 4096, 256, 256}}) {
    if (!problem.empty()) break;
    const int part = small ? 4 : 1;
    const auto product = [&](bool clusters) {
      tested.use_clusters(clusters ? 1 : 0);
      return gemm_int8_alone(tested, tokens / part, rows / part, columns, group);
    };
    const std::vector<float> expected = product(false);
    problem = difference(product(true), expected);
  }
  tested.use_clusters(0);
  report.check("products by clusters", problem);
}

void measure_clusters(const Library& tested, const WkvCudaShape& shape, const std::string& name,
                      Report& report) {
  constexpr int kRounds = 3;
  const RandomModel model(tested, shape, true);
  Sessions one(tested, model, 1);
  for (const int tokens : {shape.max_tokens / 2, shape.max_tokens}) {
    std::array<std::vector<double>, 2> speeds;
    for (int round = 0; round < 2 * kRounds; ++round) {
      const int use = round % 2;
      tested.use_clusters(use);
      speeds[static_cast<std::size_t>(use)].push_back(
          tokens / mean_seconds([&] { one.step({tokens}, WKV_CUDA_LOGITS_NONE); }));
    }
    tested.use_clusters(0);
    for (const int use : {0, 1}) {
      std::vector<double>& of = speeds[static_cast<std::size_t>(use)];
      std::sort(of.begin(), of.end());
      report.speed(
          name + ", a prompt by " + std::to_string(tokens) + (use == 0 ? ", alone" : ", by clusters"),
          of[kRounds / 2], "tokens/s", 0);
    }
  }
}

int run(const std::string& library, const std::string& simulated_library, const std::string& path,
        bool small) {
  const Library tested(library);
  WkvCudaFailure failure{};
  WkvCudaDevice device{};
  must(tested.api->describe_device(0, &device, &failure), failure);
  // With the same kernels.
  constexpr int kWide = 90;
  const int own = 10 * device.major + device.minor;
  const int simulated_one = tested.has_wide_products() != 0 ? kWide : own == kWide ? 80 : own;
  const std::string settings = "architecture=" + std::to_string(simulated_one);
  setenv("WKV_SIMULATED_GPU", settings.c_str(), 1);
  const Library simulated(simulated_library);
  std::printf("%s, compute capability %d.%d, %.1f GiB\n\n", device.name, device.major, device.minor,
              static_cast<double>(device.memory) / (1 << 30));
  Report report;
  check_instructions(tested, simulated, small, report);
  check_kernels(tested, simulated, report);
  const auto shape = [](int layers, int channels, int heads, int head_size, int feed_forward, int vocabulary,
                        int tokens) {
    return WkvCudaShape{.architecture = WKV_CUDA_RWKV5,
                        .layers = layers,
                        .channels = channels,
                        .heads = heads,
                        .head_size = head_size,
                        .feed_forward = feed_forward,
                        .vocabulary = vocabulary,
                        .max_tokens = tokens,
                        .max_segments = tokens,
                        .group_norm_epsilon = 64e-5F,
                        .mix_rank = 0,
                        .decay_rank = 0,
                        .rate_rank = 0,
                        .value_rank = 0,
                        .gate_rank = 0};
  };
  check_model(tested, simulated, shape(2, 128, 2, 64, 448, 300, 40), "heads of 64", report);
  check_model(tested, simulated, shape(1, 72, 3, 20, 250, 101, 40), "heads of 20, odd widths", report);
  if (!small)
    check_model(tested, simulated, shape(1, 1024, 16, 64, 3584, 2000, 40), "1,024 channels", report);
  const auto of_architecture = [](WkvCudaShape changed, WkvCudaArchitecture architecture, int rank) {
    changed.architecture = architecture;
    if (architecture == WKV_CUDA_RWKV4) {
      changed.heads *= changed.head_size;
      changed.head_size = 1;
    }
    set_ranks(changed, rank);
    return changed;
  };
  const WkvCudaShape few = small ? shape(1, 128, 2, 64, 250, 101, 12) : shape(1, 512, 8, 64, 1792, 1000, 64);
  check_batches(tested, few, "RWKV-5.2", report);
  check_pieces(tested, few, "RWKV-5.2", report);
  if (!small) {
    // So large that many tokens have kernels of their own, for groups of 64, 128 and 256.
    check_batches(tested, shape(1, 1024, 16, 64, 1984, 1000, 512), "RWKV-5.2, 1,024 channels", report);
    const std::pair<const char*, WkvCudaShape> large[] = {
        {"RWKV-5.2, 2,048 channels", shape(1, 2048, 32, 64, 7168, 1000, 256)},
        {"RWKV-5.2, 4,096 channels", shape(1, 4096, 64, 64, 14'336, 1000, 256)}};
    for (const auto& [name, model] : large) {
      check_batches(tested, model, name, report);
      check_pieces(tested, model, name, report);
    }
  }
  for (const auto& [architecture, name] : kOthers) {
    const std::string version = name;
    if (!small) {
      check_model(tested, simulated, of_architecture(shape(2, 128, 2, 64, 250, 101, 40), architecture, 33),
                  version + ", heads of 64", report);
      check_batches(tested, of_architecture(few, architecture, 24), version, report);
    }
    check_model(tested, simulated, of_architecture(shape(2, 44, 2, 20, 250, 101, 40), architecture, 11),
                version + ", heads of 20", report);
  }
  if (!small) {
    // So wide that LoRA matrices and mixes have the forms that large models have.
    check_model(tested, simulated, of_architecture(shape(1, 640, 1, 64, 64, 101, 40), WKV_CUDA_RWKV6, 40),
                "RWKV-6, 640 channels", report);
    check_model(tested, simulated, of_architecture(shape(1, 6080, 1, 64, 64, 101, 44), WKV_CUDA_RWKV7, 40),
                "RWKV-7, 6,080 channels", report);
  }

  WkvCeilings ceilings{};
  if (tested.measure_ceilings != nullptr) {
    const int error = tested.measure_ceilings(&ceilings);
    report.check("ceilings", error == 0 ? "" : "CUDA error " + std::to_string(error));
    std::printf("\n");
    report.speed("ceiling: reading memory", ceilings.read, "bytes/s", 0);
    report.speed("ceiling: reading and writing memory", ceilings.copy, "bytes/s", 0);
    report.speed("ceiling: from the host", ceilings.upload, "bytes/s", 0);
    report.speed("ceiling: products of bytes", ceilings.operations, "operations/s", 0);
    std::printf("\n");
  }
  const std::pair<const char*, WkvCudaShape> models[] = {
      {"1.5B", shape(24, 2048, 32, 64, 7168, 65'536, 512)},
      {"7B", shape(32, 4096, 64, 64, 14'336, 65'536, 512)}};
  for (const auto& [name, model] : models) {
    if (small) break;
    try {
      measure_model(tested, model, name, ceilings, report);
    } catch (const std::exception& error) {
      std::printf("%s: not measured, because %s\n", name, error.what());
    }
  }
  const auto save = [&] {
    std::ofstream json(path);
    json << "{\n  \"device\": \"" << Report::escaped(device.name) << "\",\n  \"computeCapability\": \""
         << device.major << '.' << device.minor << "\",\n  \"memory\": " << device.memory
         << ",\n  \"checks\": [" << report.checks << "\n  ],\n  \"speeds\": [" << report.speeds
         << "\n  ]\n}\n";
    json.close();
    if (!json) throw std::runtime_error("cannot write " + path);
  };
  save();
  if (tested.has_wide_products() != 0) {
    // Last, and ended where they do not end: nobody has seen them on a GPU.
    constexpr unsigned kSeconds = 180;
    std::printf("\nProducts by clusters; this is ended after %u seconds\n", kSeconds);
    std::fflush(stdout);
    alarm(kSeconds);
    check_clusters(tested, small, report);
    for (auto [name, model] : models) {
      if (small) break;
      model.max_tokens = 1024;
      measure_clusters(tested, model, name, report);
    }
    alarm(0);
    save();
  }
  std::printf("\n%s; %s\n", report.failed == 0 ? "All checks passed" : "SOME CHECKS FAILED", path.c_str());
  return report.failed == 0 ? 0 : 1;
}

}  // namespace

}  // namespace wkv::gpu_check

int main(int count, char** arguments) {
  const bool small = count == 5 && std::strcmp(arguments[4], "--small") == 0;
  if (count != 4 && !small) {
    std::fprintf(stderr, "Usage: %s LIBRARY SIMULATED REPORT.json [--small]\n", arguments[0]);
    return 2;
  }
  try {
    return wkv::gpu_check::run(arguments[1], arguments[2], arguments[3], small);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
