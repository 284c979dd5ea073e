#include "gpu_check/speeds.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "backend/cuda/tensors.h"
#include "gpu_check/sessions.h"

namespace wkv::gpu_check {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double head_numbers(const WkvCudaShape& shape) {
  return static_cast<double>(shape.vocabulary) * static_cast<double>(shape.channels);
}

// Of the matrices of all layers.
double layer_matrix_numbers(const WkvCudaShape& shape) {
  double numbers = 0;
  for (int i = WKV_CUDA_HEAD + 1; i < WKV_CUDA_MATRICES; ++i) {
    const cuda::Form form = cuda::form_of(shape, static_cast<WkvCudaMatrixName>(i));
    numbers += static_cast<double>(form.rows) * static_cast<double>(form.columns);
  }
  return numbers * shape.layers;
}

// How long it takes to pack a state into f16, and to unpack it, by the bytes that are read and written.
void measure_packing(const Library& tested, const RandomModel& model, const std::string& name,
                     const WkvCeilings& ceilings, Report& report) {
  Sessions one(tested, model, 1);
  const double seconds = median_seconds([&] { one.pack_and_unpack(); });
  // Each is four bytes a number and two, and there are both.
  const double bytes = 12.0 * static_cast<double>(model.page_floats());
  report.speed(name + ", a state packed and unpacked", bytes / seconds, "bytes/s", ceilings.copy);
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double median_seconds(const std::function<void()>& step) {
  constexpr double kWarmUp = 0.3;
  constexpr double kMeasured = 1;
  const Clock::time_point warming = Clock::now();
  do step();
  while (seconds_since(warming) < kWarmUp);
  std::vector<double> times;
  const Clock::time_point measuring = Clock::now();
  do {
    const Clock::time_point begin = Clock::now();
    step();
    times.push_back(seconds_since(begin));
  } while (seconds_since(measuring) < kMeasured);
  return median(std::move(times));
}

double tokens_at_most(const RandomModel& model, const WkvCeilings& ceilings, int sessions,
                      WkvCudaLogits logits) {
  if (ceilings.read <= 0) return 0;
  // Each weight is read once for all sessions (without logits, but for the head), each state read and
  // written.
  const double head = logits == WKV_CUDA_LOGITS_NONE ? head_numbers(model.shape()) : 0;
  const double weights = static_cast<double>(model.weight_bytes()) - head;
  const double state = 2.0 * static_cast<double>(model.page_floats()) * sizeof(float);
  return sessions / (weights / ceilings.read + sessions * state / ceilings.copy);
}

WkvCeilings measure_ceilings(const Library& tested, Report& report) {
  WkvCeilings ceilings{};
  if (tested.measure_ceilings == nullptr) return ceilings;
  const int error = tested.measure_ceilings(&ceilings);
  report.check("ceilings", [&] { return error == 0 ? "" : "CUDA error " + std::to_string(error); });
  std::printf("\n");
  report.speed("ceiling: reading memory", ceilings.read, "bytes/s", 0);
  report.speed("ceiling: reading and writing memory", ceilings.copy, "bytes/s", 0);
  report.speed("ceiling: from the host", ceilings.upload, "bytes/s", 0);
  report.speed("ceiling: products of bytes", ceilings.operations, "operations/s", 0);
  std::printf("\n");
  return ceilings;
}

void measure_model(const Library& tested, const WkvCudaShape& shape, const std::string& name,
                   const WkvCeilings& ceilings, Report& report, int bits) {
  const RandomModel model(tested, shape, true, bits);
  const double weights = static_cast<double>(model.weight_bytes());
  report.speed(name + ", weights to the GPU", weights / model.load_seconds(), "bytes/s", ceilings.upload);
  for (const int sessions : {1, 8, 32, 128, 256, 512}) {
    if (sessions > shape.max_segments) break;
    const std::string decoding = name + ", decoding " + std::to_string(sessions);
    report.measure(decoding, [&] {
      Sessions all(tested, model, sessions);
      const std::vector<int> counts(static_cast<std::size_t>(sessions), 1);
      for (const WkvCudaLogits logits : {WKV_CUDA_LOGITS_NONE, WKV_CUDA_LOGITS_LAST}) {
        const std::string what = logits == WKV_CUDA_LOGITS_NONE ? ", without logits" : ", logits to the host";
        const double seconds = median_seconds([&] { all.step(counts, logits); });
        report.speed(decoding + what, sessions / seconds, "tokens/s",
                     tokens_at_most(model, ceilings, sessions, logits));
      }
      WkvCudaDraw options{};
      options.temperature = 1;
      options.top_p = 0.85;
      const double seconds = median_seconds([&] { all.draw(counts, options); });
      report.speed(decoding + ", tokens drawn", sessions / seconds, "tokens/s", 0);
    });
  }
  const std::string live = name + ", decoding 500 of 2,000 live sessions in turn";
  report.measure(live, [&] {
    constexpr int kLive = 2'000;
    constexpr int kTogether = 500;
    Sessions all(tested, model, kLive);
    int next = 0;
    const double seconds = median_seconds([&] {
      std::vector<int> counts(kLive);
      std::fill_n(counts.begin() + next, kTogether, 1);
      next = (next + kTogether) % kLive;
      all.step(counts, WKV_CUDA_LOGITS_NONE);
    });
    report.speed(live, kTogether / seconds, "tokens/s", 0);
  });
  measure_packing(tested, model, name, ceilings, report);
  Sessions one(tested, model, 1);
  for (const int tokens : {shape.max_tokens / 2, shape.max_tokens}) {
    const double seconds = median_seconds([&] { one.step({tokens}, WKV_CUDA_LOGITS_NONE); });
    const double operations = 2 * layer_matrix_numbers(shape) * tokens;
    report.speed(name + ", a prompt by " + std::to_string(tokens), tokens / seconds, "tokens/s",
                 ceilings.operations > 0 ? tokens / (operations / ceilings.operations) : 0);
  }
}

}  // namespace wkv::gpu_check
