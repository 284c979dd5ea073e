// wkv_bench int8|int4 threads rows columns group tokens...: products of one matrix, each beside its ceiling

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "backend/cpu/ceilings.h"
#include "backend/cpu/cpu_features.h"
#include "bench/bench.h"
#include "bench/quantized_products.h"

namespace {

using namespace wkv;
using namespace wkv::bench;

void gemm(Precision precision, unsigned threads, int rows, int columns, int group,
          const std::vector<int>& tokens) {
  QuantizedProducts own(precision, threads, rows, columns, group);
  for (const int count : tokens) {
    std::vector<double> rates;
    std::vector<double> ceilings;
    const bool decode = count < 8;
    for (int round = 0; round < 7; ++round) {
      ceilings.push_back(decode ? measure_read(threads)
                                : measure_peak(selected_kernels().quantized.peak_int8, threads));
      const int turns = decode ? own.matrices() : 8;
      const double work = decode ? static_cast<double>(own.matrix_bytes())
                                 : 2.0 * rows * columns * static_cast<double>(count);
      rates.push_back(work * turns / own.time(count, turns));
    }
    std::printf("%5d tokens: %8.2f %s, ceiling %8.2f, ratio %.2f\n", count, median(rates) / 1e9,
                decode ? "GB/s" : "GOPS", median(ceilings) / 1e9, median(rates) / median(ceilings));
  }
}

}  // namespace

int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  if ((what == "int8" || what == "int4") && count > 6) {
    std::vector<int> tokens;
    for (int i = 6; i < count; ++i) tokens.push_back(std::atoi(arguments[i]));
    gemm(what == "int4" ? Precision::kInt4 : Precision::kInt8, static_cast<unsigned>(std::atoi(arguments[2])),
         std::atoi(arguments[3]), std::atoi(arguments[4]), std::atoi(arguments[5]), tokens);
    return 0;
  }
  std::fputs("usage: wkv_bench int8|int4 threads rows columns group tokens...\n", stderr);
  return 2;
}
