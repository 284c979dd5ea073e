#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/cpu_features.h"
#include "backend/cpu/memory.h"
#include "engine/matrix_product.h"
#include "test/support/guarded.h"
#include "test/support/matrices.h"
#include "test/support/numbers.h"

using wkv::Gemm;
using wkv::GemmArguments;
using wkv::KernelTable;
using wkv::StoredType;
using wkv::test::Floats;
using wkv::test::Guarded;
using wkv::test::kTypes;
using wkv::test::rounded;

namespace {

// A block of weights and activations. `matrix` is what the panels hold, [rows][columns].
struct Case {
  Case(std::mt19937& random, StoredType element_type, std::size_t row_count, std::size_t column_count,
       std::size_t token_count)
      : type(element_type), rows(row_count), columns(column_count), tokens(token_count) {
    padded = (columns + 15) / 16 * 16;
    x_stride = padded + 16;
    matrix = wkv::test::random_floats(random, rows * columns);
    for (float& weight : matrix) weight = rounded(type, weight);
    packed.resize((rows + 3) / 4 * 4 * padded);
    // [row panel][column group][row in the panel][column in the group]
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t column = 0; column < columns; ++column) {
        const std::size_t group = row / 4 * (padded / 16) + column / 16;
        packed[(group * 4 + row % 4) * 16 + column % 16] = matrix[row * columns + column];
      }
    }
    x.resize(x_stride * (tokens - 1) + padded);
    for (std::size_t token = 0; token < tokens; ++token) {
      const Floats values = wkv::test::random_floats(random, columns);
      std::copy(values.begin(), values.end(), x.begin() + static_cast<std::ptrdiff_t>(token * x_stride));
      if (token + 1 < tokens) {
        // Between the rows of activations lies what may not be looked at.
        for (std::size_t i = padded; i < x_stride; ++i) x[token * x_stride + i] = wkv::float_of(0x7fc00000U);
      }
    }
  }

  StoredType type;
  std::size_t rows, columns, tokens, padded, x_stride;
  Floats matrix, packed, x;
};

Gemm kernel_of(const KernelTable& table, StoredType type) {
  return wkv::gemm_for(table, wkv::precision_of(type));
}
Gemm reference_of(StoredType type) {
  if (type == StoredType::kF16) return wkv::reference::gemm_f16;
  return type == StoredType::kBf16 ? wkv::reference::gemm_bf16 : wkv::reference::gemm_f32;
}

constexpr float kUntouched = 12345;
constexpr std::size_t kOutputGap = 3;

// output [tokens][rows] for the first `rows` rows and the tokens [first, first + tokens).
template <class Element>
Floats run_packed(Gemm kernel, const Case& c, std::span<const Element> packed, std::size_t rows,
                  std::size_t first, std::size_t tokens) {
  Guarded<Element> weights(packed.first((rows + 3) / 4 * 4 * c.padded));
  const std::span<const float> all(c.x);
  Guarded<float> x(all.subspan(first * c.x_stride, (tokens - 1) * c.x_stride + c.padded));
  const std::size_t stride = rows + kOutputGap;
  Guarded<float> output(Floats(stride * (tokens - 1) + rows, kUntouched));
  wkv::Memory scratch(wkv::kGemmScratchFloats * sizeof(float));
  kernel({.weights = weights.data(),
          .x = x.data(),
          .output = output.data(),
          .scratch = scratch.floats(),
          .x_stride = static_cast<std::ptrdiff_t>(c.x_stride),
          .output_stride = static_cast<std::ptrdiff_t>(stride),
          .tokens = static_cast<int>(tokens),
          .rows = static_cast<int>(rows),
          .padded_columns = static_cast<int>(c.padded)});
  CHECK(output.intact());
  Floats result;
  bool gaps_untouched = true;
  for (std::size_t i = 0; i < output.values().size(); ++i) {
    if (i % stride < rows) {
      result.push_back(output.data()[i]);
    } else {
      gaps_untouched &= output.data()[i] == kUntouched;
    }
  }
  CHECK(gaps_untouched);
  return result;
}

Floats run(Gemm kernel, const Case& c, std::size_t rows, std::size_t first, std::size_t tokens) {
  if (c.type == StoredType::kF32) return run_packed<float>(kernel, c, c.packed, rows, first, tokens);
  std::vector<std::uint16_t> halves;
  for (const float weight : c.packed) {
    halves.push_back(c.type == StoredType::kF16 ? wkv::f32_to_f16(weight) : wkv::f32_to_bf16(weight));
  }
  return run_packed<std::uint16_t>(kernel, c, halves, rows, first, tokens);
}

// The first `rows` rows of the tokens [first, first + tokens) of a result of c.rows rows.
Floats part(const Case& c, const Floats& whole, std::size_t rows, std::size_t first, std::size_t tokens) {
  Floats result;
  for (std::size_t token = first; token < first + tokens; ++token) {
    const auto row = whole.begin() + static_cast<std::ptrdiff_t>(token * c.rows);
    result.insert(result.end(), row, row + static_cast<std::ptrdiff_t>(rows));
  }
  return result;
}

}  // namespace

TEST_SUITE("gemm") {
  TEST_CASE("agrees with the plain product of the matrix, at every number of columns") {
    std::mt19937 random(1);
    for (const StoredType type : kTypes) {
      for (const std::size_t columns : {1U, 15U, 16U, 17U, 64U, 1000U, 1024U, 1025U, 2048U + 16U}) {
        CAPTURE(name_of(type));
        CAPTURE(columns);
        const Case c(random, type, 8, columns, 5);
        Floats expected;
        Floats magnitude;
        for (std::size_t token = 0; token < c.tokens; ++token) {
          for (std::size_t row = 0; row < c.rows; ++row) {
            double sum = 0;
            double absolute = 0;
            for (std::size_t column = 0; column < columns; ++column) {
              const double product = static_cast<double>(c.matrix[row * columns + column]) *
                                     static_cast<double>(c.x[token * c.x_stride + column]);
              sum += product;
              absolute += std::abs(product);
            }
            expected.push_back(static_cast<float>(sum));
            magnitude.push_back(static_cast<float>(absolute));
          }
        }
        // Each lane rounds once for every 16 columns, the sum of the lanes 4 times; once more for `expected`.
        const double roundings = (static_cast<double>(columns) / 16 + 6) * wkv::test::kRounding;
        const auto tolerance = [&](std::size_t i) { return roundings * static_cast<double>(magnitude[i]); };
        CHECK(wkv::test::beyond(run(reference_of(type), c, 8, 0, 5), expected, [&](std::size_t i) {
                return wkv::test::kRounding * static_cast<double>(magnitude[i]);
              }) == "");
        for (const KernelTable* table : wkv::available_kernels()) {
          CAPTURE(table->name);
          CHECK(wkv::test::beyond(run(kernel_of(*table, type), c, 8, 0, 5), expected, tolerance) == "");
        }
      }
    }
  }

  TEST_CASE("gives the same bits for one token as for many, for any block, on every instruction set") {
    std::mt19937 random(2);
    for (const StoredType type : kTypes) {
      for (const std::size_t columns : {1U, 15U, 16U, 17U, 1024U, 1025U, 2048U + 16U}) {
        const Case c(random, type, wkv::kBlockRows, columns, 13);
        const Floats whole = run(kernel_of(wkv::portable_kernels(), type), c, c.rows, 0, c.tokens);
        for (const KernelTable* table : wkv::available_kernels()) {
          CAPTURE(name_of(type));
          CAPTURE(columns);
          CAPTURE(table->name);
          const Gemm kernel = kernel_of(*table, type);
          const auto agrees = [&](std::size_t rows, std::size_t first, std::size_t tokens) {
            CAPTURE(rows);
            CAPTURE(first);
            CAPTURE(tokens);
            CHECK(wkv::test::bit_difference(run(kernel, c, rows, first, tokens),
                                            part(c, whole, rows, first, tokens)) == "");
          };
          for (std::size_t tokens = 1; tokens <= 13; ++tokens)
            agrees(columns < 100 ? 32 : 7, 13 - tokens, tokens);
          if (columns > 100) continue;
          for (std::size_t rows = 1; rows <= 32; ++rows) {
            agrees(rows, 2, 1);
            agrees(rows, 0, 8);
          }
        }
      }
    }
  }

  TEST_CASE("takes blocks of 127 and 128 tokens") {
    std::mt19937 random(3);
    for (const StoredType type : kTypes) {
      const Case c(random, type, wkv::kBlockRows, 1025 + 16, 128);
      const Floats first = run(kernel_of(*wkv::available_kernels().front(), type), c, 32, 0, 128);
      for (const KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        const Gemm kernel = kernel_of(*table, type);
        CHECK(wkv::test::bit_difference(run(kernel, c, 5, 0, 128), part(c, first, 5, 0, 128)) == "");
        CHECK(wkv::test::bit_difference(run(kernel, c, 3, 1, 127), part(c, first, 3, 1, 127)) == "");
        for (const std::size_t token : {0U, 64U, 127U}) {
          CHECK(wkv::test::bit_difference(run(kernel, c, 32, token, 1), part(c, first, 32, token, 1)) == "");
        }
      }
    }
  }

  TEST_CASE("widens every half exactly, subnormals included, even where denormals are flushed") {
    wkv::test::on_engine_thread([] {
      // Row 0 of a panel holds the half, times 2^16 in the activation, so that nothing becomes denormal.
      for (const KernelTable* table : wkv::available_kernels()) {
        CAPTURE(table->name);
        int wrong = 0;
        wkv::Memory scratch(wkv::kGemmScratchFloats * sizeof(float));
        for (unsigned bits = 0; bits < 0x7c00U; bits += 16) {
          std::vector<std::uint16_t> weights(64);
          for (unsigned lane = 0; lane < 16; ++lane) weights[lane] = static_cast<std::uint16_t>(bits + lane);
          for (std::size_t lane = 0; lane < 16; ++lane) {
            Floats x(16, 0);
            x[lane] = 0x1p16F;
            float output = -1;
            if (lane != bits / 16 % 16 && bits >= 0x400U)
              continue;  // every lane for subnormals, one for others
            table->gemm_f16({weights.data(), x.data(), &output, scratch.floats(), 16, 1, 1, 1, 16});
            wrong += output != 0x1p16F * wkv::f16_to_f32(weights[lane]);
          }
        }
        CHECK(wrong == 0);
      }
    });
  }

  TEST_CASE("whole products of odd sizes over several threads give the bits of one thread") {
    std::mt19937 random(4);
    wkv::ThreadPool pool;
    for (const auto& size : {std::pair{33, 192}, {1, 320}, {70, 1000}, {509, 64}}) {
      const int rows = size.first;
      const int columns = size.second;
      CAPTURE(rows);
      const Case c(random, StoredType::kBf16, static_cast<std::size_t>(rows),
                   static_cast<std::size_t>(columns), 9);
      wkv::Matrix matrix(wkv::Precision::kBf16, rows, columns);
      REQUIRE(matrix.data.size() == c.packed.size() * 2);
      for (std::size_t i = 0; i < c.packed.size(); ++i) {
        static_cast<std::uint16_t*>(matrix.data.data())[i] = wkv::f32_to_bf16(c.packed[i]);
      }
      wkv::Activation input(9, columns);
      for (std::size_t token = 0; token < 9; ++token) {
        std::copy_n(c.x.begin() + static_cast<std::ptrdiff_t>(token * c.x_stride), columns, input.row(token));
      }
      std::vector<Floats> results;
      for (const unsigned lanes : {1U, 2U, 3U}) {
        wkv::Activation output(9, rows);
        wkv::MatrixScratch scratch(lanes, 9, 0);
        std::vector<int> finished(9 * static_cast<std::size_t>(rows));
        const wkv::Product product[] = {{&matrix, &input, &output}};
        wkv::multiply(wkv::selected_kernels(), pool, lanes, scratch, 9, product,
                      [&](std::size_t, std::size_t token, int row, int count) {
                        for (int i = row; i < row + count; ++i) {
                          ++finished[token * static_cast<std::size_t>(rows) + static_cast<std::size_t>(i)];
                        }
                      });
        CHECK(finished == std::vector<int>(finished.size(), 1));
        Floats& result = results.emplace_back();
        for (std::size_t token = 0; token < 9; ++token) {
          result.insert(result.end(), output.row(token), output.row(token) + rows);
          for (std::ptrdiff_t i = rows; i < output.stride; ++i) CHECK(output.row(token)[i] == 0);
        }
      }
      CHECK(wkv::test::bit_difference(results[1], results[0]) == "");
      CHECK(wkv::test::bit_difference(results[2], results[0]) == "");
      for (std::size_t token = 0; token < 9; ++token) {
        for (std::size_t row = 0; row < c.rows; ++row) {
          double sum = 0;
          for (std::size_t i = 0; i < c.columns; ++i) {
            sum += static_cast<double>(c.matrix[row * c.columns + i]) *
                   static_cast<double>(c.x[token * c.x_stride + i]);
          }
          // At most 1,000 products below 1, 69 roundings of partial sums below 1,000.
          CHECK(std::abs(static_cast<double>(results[0][token * c.rows + row]) - sum) <
                1000 * 69 * wkv::test::kRounding);
        }
      }
    }
  }
}
