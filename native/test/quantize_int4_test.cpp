#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "engine/matrix.h"
#include "test/support/guarded.h"
#include "test/support/numbers.h"

using wkv::KernelTable;
using wkv::test::Floats;
using wkv::test::Guarded;

namespace {

struct Int4 {
  int scale = 0;
  std::vector<unsigned char> codes;
  std::vector<unsigned char> indices;
};

template <class Kernel>
Int4 quantize(Kernel kernel, const Floats& weights, const Floats& importance) {
  Guarded<float> input{std::span<const float>(weights)};
  Guarded<float> counts{std::span<const float>(importance)};
  Guarded<unsigned char> codes(weights.size());
  Guarded<unsigned char> indices((weights.size() + 15) / 16);
  const int scale = kernel({.weights = input.data(),
                            .importance = counts.data(),
                            .size = static_cast<int>(weights.size()),
                            .codes = codes.data(),
                            .indices = indices.data()});
  CHECK(codes.intact());
  CHECK(indices.intact());
  return {scale, codes.copy(), indices.copy()};
}

double value_of(const Int4& int4, std::size_t i) {
  return static_cast<double>(wkv::int4_scale(int4.scale)) * wkv::int4_multiplier(int4.indices[i / 16]) *
         (int4.codes[i] - 8);
}

// The squares of what rounding took away, as they count.
double lost(const Floats& weights, const Floats& importance, const Int4& int4) {
  double error = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double off = static_cast<double>(weights[i]) - value_of(int4, i);
    error += static_cast<double>(importance[i]) * off * off;
  }
  return error;
}

// Plain rounding in groups of 32: the largest magnitude is 7 steps.
double lost_plainly(const Floats& weights, const Floats& importance) {
  double error = 0;
  for (std::size_t begin = 0; begin < weights.size(); begin += 32) {
    const std::size_t end = std::min(begin + 32, weights.size());
    double largest = 0;
    for (std::size_t i = begin; i < end; ++i) {
      largest = std::max(largest, std::fabs(static_cast<double>(weights[i])));
    }
    const double step = largest / 7;
    for (std::size_t i = begin; i < end && step > 0; ++i) {
      const double weight = static_cast<double>(weights[i]);
      const double off = weight - std::nearbyint(weight / step) * step;
      error += static_cast<double>(importance[i]) * off * off;
    }
  }
  return error;
}

}  // namespace

TEST_CASE("scales of int4 ascend from 2^-20 to what reaches the largest weight") {
  CHECK(wkv::int4_scale(0) == std::ldexp(1.0F, -20));
  CHECK(wkv::int4_scale(16) == std::ldexp(1.0F, -19));
  CHECK(wkv::int4_scale(1) == std::ldexp(17.0F, -24));
  for (int code = 1; code < 256; ++code) CHECK(wkv::int4_scale(code) > wkv::int4_scale(code - 1));
  CHECK(wkv::int4_scale(255) * 8 * 127 == wkv::kMaxInt4Weight);
}

TEST_CASE("weights of 4 bits lose what the reference loses, and two thirds of what plain rounding does") {
  wkv::test::on_engine_thread([] {
    std::mt19937 random(8);
    std::normal_distribution<float> normal(0, 0.3F);
    for (const int size : {1, 2, 15, 16, 17, 31, 64, 224, 256}) {
      double plainly = 0;
      double ours = 0;
      for (int round = 0; round < 40; ++round) {
        Floats weights(static_cast<std::size_t>(size));
        for (float& weight : weights) weight = normal(random);
        if (round % 4 == 1) weights[0] = 40;
        if (round % 4 == 2) {
          for (float& weight : weights) weight *= 0.02F;
        }
        const Floats importance = wkv::test::random_floats(random, weights.size(), 0.1F, 3);
        const Int4 reference = quantize(wkv::reference::quantize_int4, weights, importance);
        const double naive = lost(weights, importance, reference);
        Int4 first;
        for (const KernelTable* table : wkv::available_kernels()) {
          const Int4 fast = quantize(table->quantize_int4, weights, importance);
          INFO(table->name, ", ", size, " weights, round ", round);
          // Where two choices lose the same but for rounding, either may be taken.
          CHECK(lost(weights, importance, fast) <= naive * (1 + 1e-4) + 1e-12);
          if (first.codes.empty()) first = fast;
          CHECK(fast.scale == first.scale);
          CHECK(fast.codes == first.codes);
          CHECK(fast.indices == first.indices);
          CHECK(std::all_of(fast.codes.begin(), fast.codes.end(), [](unsigned char c) { return c < 16; }));
        }
        if (round % 4 == 1) continue;
        ours += naive;
        plainly += lost_plainly(weights, importance);
      }
      INFO(size, " weights");
      if (size >= 31) CHECK(ours < plainly * 2 / 3);
    }
  });
}

TEST_CASE("weights of 4 bits lose as much as docs/quantization.md says, and more below the smallest step") {
  wkv::test::on_engine_thread([] {
    const Floats importance(256, 1.0F);
    struct Loss {
      double deviation;
      double expected;
    };
    for (const Loss& loss : {Loss{0.1, 0.08}, Loss{3e-4, 0.08}, Loss{1e-4, 0.10}, Loss{1e-5, 0.52}}) {
      std::mt19937 random(1);
      std::normal_distribution<float> normal(0, static_cast<float>(loss.deviation));
      double error = 0;
      double all = 0;
      for (int row = 0; row < 64; ++row) {
        Floats weights(importance.size());
        for (float& weight : weights) weight = normal(random);
        error +=
            lost(weights, importance, quantize(wkv::selected_kernels().quantize_int4, weights, importance));
        for (const float weight : weights) all += static_cast<double>(weight) * static_cast<double>(weight);
      }
      INFO("deviation ", loss.deviation);
      CHECK(std::sqrt(error / all) == doctest::Approx(loss.expected).epsilon(0.06));
    }
  });
}

TEST_CASE("weights of 4 bits that are zero, tiny or large") {
  wkv::test::on_engine_thread([] {
    for (const KernelTable* table : wkv::available_kernels()) {
      for (const float size : {0.0F, -0.0F, 1e-41F, 1e-30F, 1e-6F, wkv::kMaxInt4Weight}) {
        Floats weights(37, size);
        weights[20] = -size;
        const Floats importance(37, 1.0F);
        const Int4 int4 = quantize(table->quantize_int4, weights, importance);
        INFO(std::string(table->name), " ", size);
        for (std::size_t i = 0; i < weights.size(); ++i) {
          // Below the least step half of it; and a block's largest may be 8 steps on one side, 7 on the
          // other.
          const double step = 19 * static_cast<double>(wkv::int4_scale(0));
          const double bound = std::max(std::fabs(static_cast<double>(size)) / 7, step / 2);
          CHECK(std::fabs(static_cast<double>(weights[i]) - value_of(int4, i)) <= bound);
        }
      }
    }
  });
}

TEST_CASE(
    "a matrix in int4 keeps each row's codes, multipliers and scales where the product looks for them") {
  std::mt19937 random(3);
  const int rows = 45;
  const int columns = 300;
  wkv::Matrix matrix(wkv::Precision::kInt4, rows, columns);
  CHECK(matrix.group == 256);
  CHECK(matrix.padded_columns == 304);
  std::uniform_int_distribution<int> byte(0, 255);
  std::vector<float> dense(static_cast<std::size_t>(rows * columns));
  for (int row = 0; row < rows; ++row) {
    for (int index = 0; index < 2; ++index) {
      const int size = std::min(256, columns - index * 256);
      std::vector<unsigned char> codes;
      std::vector<unsigned char> indices;
      for (int i = 0; i < size; ++i) codes.push_back(static_cast<unsigned char>(byte(random) % 16));
      for (int i = 0; i < size; i += 16) indices.push_back(static_cast<unsigned char>(byte(random) % 16));
      const auto scale = static_cast<unsigned char>(byte(random));
      matrix.put_int4(row, index, codes.data(), indices.data(), scale);
      for (int i = 0; i < size; ++i) {
        const auto at = static_cast<std::size_t>(i);
        dense[static_cast<std::size_t>(row * columns + index * 256 + i)] =
            wkv::int4_scale(scale) * static_cast<float>(wkv::int4_multiplier(indices[at / 16])) *
            static_cast<float>(codes[at] - 8);
      }
    }
  }
  // One activation at a time is 127 steps of 1 / 127.
  for (int column = 0; column < columns; column += 7) {
    std::vector<std::int8_t> x(static_cast<std::size_t>(matrix.padded_columns));
    x[static_cast<std::size_t>(column)] = 127;
    std::vector<std::int32_t> offsets(19);
    offsets[static_cast<std::size_t>(column / 16)] = -8 * 127;
    Floats scales(2, 1.0F / 127);
    for (int row = 0; row < rows; row += 32) {
      Floats output(32, -1.0F);
      wkv::reference::gemm_int4({.weights = matrix.panel(row),
                                 .x = {.tile_tokens = 1,
                                       .codes = x.data(),
                                       .scales = scales.data(),
                                       .offsets = offsets.data(),
                                       .stride = 1},
                                 .output = output.data(),
                                 .scratch = nullptr,
                                 .output_stride = 32,
                                 .tokens = 1,
                                 .rows = std::min(32, rows - row),
                                 .padded_columns = matrix.padded_columns,
                                 .group = matrix.group});
      for (int i = 0; i < std::min(32, rows - row); ++i) {
        const float weight = dense[static_cast<std::size_t>((row + i) * columns + column)];
        CHECK(output[static_cast<std::size_t>(i)] == doctest::Approx(weight).epsilon(1e-5));
      }
    }
  }
}
