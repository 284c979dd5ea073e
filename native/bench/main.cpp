// wkv_bench ceilings [threads]                           what the machine can do, as JSON
// wkv_bench gemm threads rows columns group tokens...    int8 products of one matrix, each beside its ceiling

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "bench/bench.h"
#include "engine/matrix_product.h"

namespace {

using namespace wkv;
using namespace wkv::bench;

constexpr std::size_t kReadBytes = std::size_t{2} << 30;

// Matrices of these shapes that together are beyond any cache, with codes that differ.
std::vector<Matrix> matrices(int rows, int columns, int group) {
  std::vector<Matrix> result;
  std::mt19937_64 random(1);
  std::size_t bytes = 0;
  while (bytes < std::size_t{1} << 30) {
    Matrix& matrix = result.emplace_back(Precision::kInt8, rows, columns, group);
    auto* words = static_cast<std::uint64_t*>(matrix.data.data());
    // Scales too are random bits, of exponents that keep products finite.
    for (std::size_t i = 0; i < matrix.data.size() / 8; ++i) words[i] = random() & 0xbfffffffbfffffffU;
    bytes += matrix.data.size();
  }
  return result;
}

void gemm(unsigned threads, int rows, int columns, int group, const std::vector<int>& tokens) {
  const KernelTable& kernels = selected_kernels();
  ThreadPool& pool = ThreadPool::process();
  std::vector<Matrix> all = matrices(rows, columns, group == 0 ? int8_group(columns) : group);
  MatrixScratch scratch(threads, kBlockTokens, columns);
  Activation input(kBlockTokens, columns);
  Activation output(kBlockTokens, rows);
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (std::size_t token = 0; token < kBlockTokens; ++token) {
    for (int i = 0; i < columns; ++i) input.row(token)[i] = normal(random);
  }
  for (const int count : tokens) {
    std::vector<double> rates;
    std::vector<double> ceilings;
    const bool decode = count < 8;
    std::size_t next = 0;
    for (int round = 0; round < 7; ++round) {
      ceilings.push_back(decode ? read_ceiling(threads, kReadBytes) : dot_ceiling(threads));
      const int turns = decode ? static_cast<int>(all.size()) : 8;
      const double time = seconds([&] {
        for (int turn = 0; turn < turns; ++turn) {
          for (int done = 0; done < count; done += kBlockTokens) {
            const Product product[] = {{&all[next], &input, &output}};
            const int step = std::min(count - done, kBlockTokens);
            multiply(kernels, pool, threads, scratch, static_cast<std::size_t>(step), product,
                     [](std::size_t, std::size_t, int, int) {});
          }
          next = (next + 1) % all.size();
        }
      });
      const double work = decode ? static_cast<double>(all[0].data.size())
                                 : 2.0 * rows * columns * static_cast<double>(count);
      rates.push_back(work * turns / time);
    }
    std::printf("%5d tokens: %8.2f %s, ceiling %8.2f, ratio %.2f\n", count, median(rates) / 1e9,
                decode ? "GB/s" : "GOPS", median(ceilings) / 1e9, median(rates) / median(ceilings));
  }
}

}  // namespace

int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  const unsigned threads = count > 2 ? static_cast<unsigned>(std::atoi(arguments[2])) : 2;
  if (what == "ceilings") {
    std::printf("{\"read\":%.4g,\"dot\":%.4g,\"isa\":\"%s\"}\n", read_ceiling(threads, kReadBytes),
                dot_ceiling(threads), selected_kernels().name);
    return 0;
  }
  if (what == "gemm" && count > 6) {
    std::vector<int> tokens;
    for (int i = 6; i < count; ++i) tokens.push_back(std::atoi(arguments[i]));
    gemm(threads, std::atoi(arguments[3]), std::atoi(arguments[4]), std::atoi(arguments[5]), tokens);
    return 0;
  }
  std::fputs("usage: wkv_bench ceilings [threads] | gemm threads rows columns group tokens...\n", stderr);
  return 2;
}
