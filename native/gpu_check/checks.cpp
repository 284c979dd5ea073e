#include "gpu_check/checks.h"

#include <array>
#include <bit>

#include "gpu_check/instructions.h"
#include "gpu_check/kernels.h"
#include "gpu_check/sessions.h"

namespace wkv::gpu_check {

std::string difference(const std::vector<float>& actual, const std::vector<float>& expected) {
  if (actual.size() != expected.size()) return "sizes differ";
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::bit_cast<std::uint32_t>(actual[i]) == std::bit_cast<std::uint32_t>(expected[i])) continue;
    return "at " + std::to_string(i) + ": " + std::to_string(actual[i]) + ", expected " +
           std::to_string(expected[i]);
  }
  return "";
}

namespace {

const char* name_of_output(int word) {
  constexpr std::pair<int, const char*> kNames[] = {{kSelected, "select_bytes"},
                                                    {kUnitProduct, "multiply_unit"},
                                                    {kCopiedNumber, "begin_copy of a number"},
                                                    {kDotProduct, "add_products"},
                                                    {kToF16, "to_f16"},
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

std::string problem_of_instructions(const Library& tested, const Library& simulated, int cases) {
  Random random(3);
  std::vector<std::uint32_t> input(static_cast<std::size_t>(cases) * kLaneCount * kInputWords);
  for (std::uint32_t& word : input) word = random.word();
  std::vector<std::uint32_t> actual(static_cast<std::size_t>(cases) * kLaneCount * kOutputWords);
  std::vector<std::uint32_t> expected(actual.size());
  const int error = tested.run_instructions(input.data(), actual.data(), cases);
  if (error != 0) return "CUDA error " + std::to_string(error);
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
  return problem;
}

std::string problem_of_wkv5(const Library& tested, const Library& simulated) {
  for (const auto& [batch, tokens, heads, size] :
       {std::array{3, 1, 2, 64}, {2, 40, 2, 64}, {2, 9, 3, 20}, {1, 2, 1, 300}}) {
    const std::string problem = difference(wkv5_alone(tested, batch, tokens, heads, size),
                                           wkv5_alone(simulated, batch, tokens, heads, size));
    if (!problem.empty()) return problem;
  }
  return "";
}

std::string problem_of_gemm(const Library& tested, const Library& simulated, int bits) {
  for (const auto& [tokens, rows, columns, group] : {std::array{1, 33, 64, 64},
                                                     {7, 5, 112, 32},
                                                     {20, 40, 1008, 48},
                                                     {40, 64, 256, 64},
                                                     {200, 130, 512, 128}}) {
    const std::string problem = difference(gemm_alone(tested, bits, tokens, rows, columns, group),
                                           gemm_alone(simulated, bits, tokens, rows, columns, group));
    if (!problem.empty()) return problem;
  }
  return "";
}

std::string problem_of_model(const Library& tested, const Library& simulated, const WkvCudaShape& shape,
                             int bits) {
  const RandomModel on_gpu(tested, shape, false, bits);
  const RandomModel on_cpu(simulated, shape, false, bits);
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
  return problem;
}

std::string problem_of_batches(const Library& tested, const WkvCudaShape& shape, int others, int bits) {
  const RandomModel model(tested, shape, true, bits);
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
  return problem;
}

std::string problem_of_pieces(const Library& tested, const WkvCudaShape& shape, int bits) {
  constexpr int kPiece = 8;
  const RandomModel model(tested, shape, true, bits);
  Sessions at_once(tested, model, 1);
  const std::vector<float>& logits = at_once.step({shape.max_tokens}, WKV_CUDA_LOGITS_LAST);
  Sessions in_pieces(tested, model, 1);
  for (int first = 0; first < shape.max_tokens; first += kPiece) {
    in_pieces.step({std::min(kPiece, shape.max_tokens - first)}, WKV_CUDA_LOGITS_LAST);
  }
  std::string problem = difference(logits, in_pieces.logits());
  if (problem.empty()) problem = difference(at_once.state(0), in_pieces.state(0));
  return problem;
}

}  // namespace

void check_instructions(const Library& tested, const Library& simulated, bool small, Report& report) {
  const int cases = small ? 64 : 4096;
  report.check("instructions, " + std::to_string(cases * kLaneCount) + " lanes",
               [&] { return problem_of_instructions(tested, simulated, cases); });
}

void check_kernels(const Library& tested, const Library& simulated, Report& report) {
  report.check("wkv5 alone", [&] { return problem_of_wkv5(tested, simulated); });
  report.check("gemm_int8 alone", [&] { return problem_of_gemm(tested, simulated, 8); });
  report.check("gemm_int4 alone", [&] { return problem_of_gemm(tested, simulated, 4); });
}

void check_model(const Library& tested, const Library& simulated, const WkvCudaShape& shape,
                 const std::string& name, Report& report, int bits) {
  report.check(name, [&] { return problem_of_model(tested, simulated, shape, bits); });
}

void check_batches(const Library& tested, const WkvCudaShape& shape, const std::string& name, Report& report,
                   int bits) {
  const int others = shape.max_segments - 1;
  report.check(name + ", a session alone and beside up to " + std::to_string(others) + " others",
               [&] { return problem_of_batches(tested, shape, others, bits); });
}

void check_pieces(const Library& tested, const WkvCudaShape& shape, const std::string& name, Report& report,
                  int bits) {
  report.check(name + ", " + std::to_string(shape.max_tokens) + " tokens at once and by eights",
               [&] { return problem_of_pieces(tested, shape, bits); });
}

}  // namespace wkv::gpu_check
