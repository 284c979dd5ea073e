// wkv_bench_onednn threads rows columns tokens...    int8 products beside oneDNN's, as lines of JSON
//
// oneDNN has bare products: bytes in (u8 or s8 activations, s8 weights in the layout that it asks for), sums
// in 32 bits out. Ours are those of models: f32 in and out, quantized inside. By turns: ceilings, ours,
// oneDNN's.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <dnnl.hpp>
#include <exception>
#include <random>
#include <vector>

#include "backend/cpu/ceilings.h"
#include "backend/cpu/cpu_features.h"
#include "bench/bench.h"
#include "bench/quantized_products.h"

namespace {

using namespace wkv;
using namespace wkv::bench;

constexpr int kRounds = 7;
// Operations of a measurement, so that it takes some hundredths of a second at least.
constexpr double kMinOperations = 2e10;

// oneDNN's product for one shape, one number of tokens and one type of activations.
class OneDnn {
 public:
  OneDnn(dnnl::memory::data_type activations, int tokens, int rows, int columns)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    using Memory = dnnl::memory;
    const Memory::desc input({tokens, columns}, activations, Memory::format_tag::ab);
    const Memory::desc weights({columns, rows}, Memory::data_type::s8, Memory::format_tag::any);
    const Memory::desc output({tokens, rows}, Memory::data_type::s32, Memory::format_tag::ab);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc form(engine_, input, weights, output);
#else
    const dnnl::matmul::primitive_desc form({input, weights, output}, engine_);
#endif
    product_ = dnnl::matmul(form);
    input_ = Memory(input, engine_);
    output_ = Memory(output, engine_);
    const Memory::desc plain({columns, rows}, Memory::data_type::s8, Memory::format_tag::ab);
    std::mt19937_64 random(3);
    std::vector<std::uint64_t> codes(plain.get_size() / 8);
    fill(input_, random);
    for (std::size_t bytes = 0; bytes < kMatrixBytes; bytes += plain.get_size()) {
      for (std::uint64_t& eight : codes) eight = random();
      Memory from(plain, engine_, codes.data());
      Memory& to = weights_.emplace_back(form.weights_desc(), engine_);
      dnnl::reorder(from, to).execute(stream_, from, to);
      stream_.wait();
    }
  }

  double time(int turns) {
    return seconds([&] {
      for (int turn = 0; turn < turns; ++turn) {
        product_.execute(
            stream_, {{DNNL_ARG_SRC, input_}, {DNNL_ARG_WEIGHTS, weights_[next_]}, {DNNL_ARG_DST, output_}});
        stream_.wait();
        next_ = (next_ + 1) % weights_.size();
      }
    });
  }

 private:
  static void fill(const dnnl::memory& memory, std::mt19937_64& random) {
    auto* bytes = static_cast<unsigned char*>(memory.get_data_handle());
    std::generate_n(bytes, memory.get_desc().get_size(),
                    [&] { return static_cast<unsigned char>(random()); });
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul product_;
  dnnl::memory input_;
  dnnl::memory output_;
  std::vector<dnnl::memory> weights_;
  std::size_t next_ = 0;
};

void print(const char* name, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    return values[static_cast<std::size_t>(std::lround(part * static_cast<double>(values.size() - 1)))];
  };
  std::printf(",\"%s\":{\"lower\":%.4g,\"median\":%.4g,\"upper\":%.4g}", name, at(0.25), at(0.5), at(0.75));
}

void compare(unsigned threads, int rows, int columns, int tokens, QuantizedProducts& own) {
  const double work = 2.0 * rows * columns * tokens;
  // A few tokens go through all matrices, so that none comes from a cache.
  const int enough = static_cast<int>(std::ceil(kMinOperations / work));
  const int turns = tokens < 8 ? own.matrices() : enough;
  OneDnn unsigned_bytes(dnnl::memory::data_type::u8, tokens, rows, columns);
  OneDnn signed_bytes(dnnl::memory::data_type::s8, tokens, rows, columns);
  std::vector<double> read;
  std::vector<double> peak;
  std::vector<double> ours;
  std::vector<double> u8s8;
  std::vector<double> s8s8;
  for (int round = 0; round < kRounds; ++round) {
    read.push_back(measure_read(threads));
    peak.push_back(measure_peak(selected_kernels().quantized.peak_int8, threads));
    ours.push_back(work * turns / own.time(tokens, turns));
    u8s8.push_back(work * turns / unsigned_bytes.time(turns));
    s8s8.push_back(work * turns / signed_bytes.time(turns));
  }
  std::printf(
      "{\"rows\":%d,\"columns\":%d,\"tokens\":%d,\"threads\":%u,\"isa\":\"%s\",\"onednn\":\"%d.%d.%d\"", rows,
      columns, tokens, threads, selected_kernels().name, DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR,
      DNNL_VERSION_PATCH);
  print("readBytesPerSecond", read);
  print("peakOperationsPerSecond", peak);
  print("wkv", ours);
  print("u8s8", u8s8);
  print("s8s8", s8s8);
  std::printf("}\n");
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) {
    std::fputs("usage: wkv_bench_onednn threads rows columns tokens...\n", stderr);
    return 2;
  }
  const auto threads = static_cast<unsigned>(std::atoi(arguments[1]));
  const int rows = std::atoi(arguments[2]);
  const int columns = std::atoi(arguments[3]);
  try {
    QuantizedProducts own(Precision::kInt8, threads, rows, columns, 0);
    for (int i = 4; i < count; ++i) compare(threads, rows, columns, std::atoi(arguments[i]), own);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
