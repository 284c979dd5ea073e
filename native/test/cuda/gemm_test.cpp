#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string>

#include "backend/cpu/cpu_features.h"
#include "engine/matrix.h"
#include "kernels/gemm/cuda.h"
#include "test/cuda/on_device.h"
#include "test/support/numbers.h"

using wkv::cuda::ElementType;
using wkv::cuda::GemmEpilogue;
using wkv::test::Floats;
using wkv::test::OnDevice;

namespace {

constexpr ElementType kTypes[] = {ElementType::kF32, ElementType::kF16, ElementType::kBf16};
constexpr GemmEpilogue kEpilogues[] = {GemmEpilogue::kStore,          GemmEpilogue::kTanh,
                                       GemmEpilogue::kSigmoid,        GemmEpilogue::kBiasSigmoid,
                                       GemmEpilogue::kBiasForgetV6,   GemmEpilogue::kBiasForgetV7,
                                       GemmEpilogue::kBiasMoveTowards};
constexpr int kSizes[] = {1, 3, 5, 17, 63, 200};
// That take tiles of each size.
constexpr std::pair<int, int> kTokensAndRows[] = {{1, 9}, {1, 2050}, {9, 300}, {9, 3700}};
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

bool has_bias(GemmEpilogue epilogue) { return epilogue >= GemmEpilogue::kBiasSigmoid; }

wkv::Precision precision_of(ElementType type) {
  return type == ElementType::kF32   ? wkv::Precision::kF32
         : type == ElementType::kF16 ? wkv::Precision::kF16
                                     : wkv::Precision::kBf16;
}

struct Product {
  Product(std::mt19937& random, ElementType element_type, int rows, int columns, int token_count,
          GemmEpilogue what_follows)
      : type(element_type),
        tokens(token_count),
        epilogue(what_follows),
        matrix(precision_of(type), rows, columns),
        x(wkv::test::random_floats(random, numbers(columns))),
        output(wkv::test::random_floats(random, numbers(rows), -3, 3)),
        towards(wkv::test::random_floats(random, numbers(rows), -3, 3)) {
    if (has_bias(epilogue)) {
      bias = wkv::test::random_floats(random, static_cast<std::size_t>(rows), -12, 6);
    }
    std::uniform_real_distribution<float> weight(-2, 2);
    for (int row = 0; row < rows; ++row) {
      for (int column = 0; column < columns; ++column) put(row, column, weight(random));
    }
  }

  std::size_t numbers(int columns) const { return static_cast<std::size_t>(columns * tokens); }

  void put(int row, int column, float weight) {
    if (type == ElementType::kF32) return put_bits(row, column, wkv::bits_of(weight));
    put_bits(row, column, type == ElementType::kF16 ? wkv::f32_to_f16(weight) : wkv::f32_to_bf16(weight));
  }
  void put_bits(int row, int column, std::uint32_t bits) {
    std::memcpy(matrix.place_of(row, column), &bits, type == ElementType::kF32 ? 4 : 2);
  }

  // What the CPU's kernels make of it, one after another, on a thread of the engine.
  Floats expected() const {
    Floats result;
    wkv::test::on_engine_thread([&] { result = computed(); });
    return result;
  }

  ElementType type;
  int tokens;
  GemmEpilogue epilogue;
  wkv::Matrix matrix;
  Floats x, output, towards, bias;

 private:
  Floats sums() const {
    const wkv::KernelTable& kernels = wkv::selected_kernels();
    const wkv::Gemm gemm = type == ElementType::kF32   ? kernels.gemm_f32
                           : type == ElementType::kF16 ? kernels.gemm_f16
                                                       : kernels.gemm_bf16;
    Floats padded(numbers(matrix.padded_columns));
    for (int token = 0; token < tokens; ++token) {
      std::copy_n(x.begin() + std::ptrdiff_t{token} * matrix.columns, matrix.columns,
                  padded.begin() + std::ptrdiff_t{token} * matrix.padded_columns);
    }
    Floats result(numbers(matrix.rows));
    wkv::Memory scratch(wkv::kGemmScratchFloats * sizeof(float));
    for (int token = 0; token < tokens; token += wkv::kBlockTokens) {
      for (int row = 0; row < matrix.rows; row += wkv::kBlockRows) {
        gemm({.weights = matrix.panel(row),
              .x = padded.data() + std::ptrdiff_t{token} * matrix.padded_columns,
              .output = result.data() + std::ptrdiff_t{token} * matrix.rows + row,
              .scratch = scratch.floats(),
              .x_stride = matrix.padded_columns,
              .output_stride = matrix.rows,
              .tokens = std::min(tokens - token, wkv::kBlockTokens),
              .rows = std::min(matrix.rows - row, wkv::kBlockRows),
              .padded_columns = matrix.padded_columns});
      }
    }
    return result;
  }

  Floats computed() const {
    const wkv::KernelTable& kernels = wkv::selected_kernels();
    Floats result = sums();
    for (int token = 0; token < tokens; ++token) {
      const std::ptrdiff_t at = std::ptrdiff_t{token} * matrix.rows;
      float* const row = result.data() + at;
      if (has_bias(epilogue)) kernels.add(row, bias.data(), matrix.rows);
      switch (epilogue) {
        case GemmEpilogue::kStore:
          break;
        case GemmEpilogue::kTanh:
          kernels.tanh(row, matrix.rows);
          break;
        case GemmEpilogue::kSigmoid:
        case GemmEpilogue::kBiasSigmoid:
          kernels.sigmoid(row, matrix.rows);
          break;
        case GemmEpilogue::kBiasForgetV6:
          kernels.forget_v6(row, matrix.rows);
          break;
        case GemmEpilogue::kBiasForgetV7:
          kernels.forget_v7(row, matrix.rows);
          break;
        case GemmEpilogue::kBiasMoveTowards: {
          Floats moved(output.begin() + at, output.begin() + at + matrix.rows);
          kernels.move_towards(moved.data(), row, towards.data() + at, matrix.rows);
          std::copy(moved.begin(), moved.end(), row);
          break;
        }
      }
    }
    return result;
  }
};

// A product's arrays in the simulated GPU's memory.
struct ProductOnDevice {
  explicit ProductOnDevice(const Product& from)
      : product(&from),
        panels(from.matrix.data.size()),
        x(from.x),
        output(from.output),
        bias(from.bias),
        towards(from.towards) {
    std::memcpy(panels.data(), from.matrix.data.data(), from.matrix.data.size());
  }

  wkv::cuda::GemmProduct of_launch() {
    return {.panels = panels.data(),
            .type = product->type,
            .x = x.data(),
            .output = output.data(),
            .bias = has_bias(product->epilogue) ? bias.data() : nullptr,
            .towards = product->epilogue == GemmEpilogue::kBiasMoveTowards ? towards.data() : nullptr,
            .rows = product->matrix.rows,
            .columns = product->matrix.columns,
            .epilogue = product->epilogue};
  }

  const Product* product;
  OnDevice<unsigned char> panels;
  OnDevice<float> x, output, bias, towards;
};

// Products of as many tokens in one launch.
void check(std::span<const Product> products) {
  std::vector<std::unique_ptr<ProductOnDevice>> on_device;
  wkv::cuda::GemmArguments arguments = {};
  for (const Product& product : products) {
    arguments.tokens = product.tokens;
    auto& added = on_device.emplace_back(std::make_unique<ProductOnDevice>(product));
    arguments.products[arguments.count++] = added->of_launch();
  }
  wkv::cuda::gemm(arguments, nullptr);
  for (std::size_t i = 0; i < products.size(); ++i) {
    const Product& of = products[i];
    INFO(of.tokens, " tokens, product ", i, ": ", of.matrix.rows, " rows, ", of.matrix.columns,
         " columns, type ", static_cast<int>(of.type), ", epilogue ", static_cast<int>(of.epilogue));
    CHECK(wkv::test::bit_difference(on_device[i]->output.values(), of.expected()) == "");
  }
}

// Takes each type and each epilogue in turn.
class Kinds {
 public:
  Product product(std::mt19937& random, int rows, int columns, int tokens) {
    ++number_;
    return {random, kTypes[number_ % 3], rows, columns, tokens, kEpilogues[number_ % 7]};
  }

 private:
  std::size_t number_ = 0;
};

}  // namespace

TEST_SUITE("CUDA gemm") {
  TEST_CASE("has the bits of the CPU's kernels one after another, for several products of any size") {
    std::mt19937 random(1);
    Kinds kinds;
    wkv::test::in_every_order([&](const std::string& order) {
      CAPTURE(order);
      for (const int tokens : {1, 2, 7, 8, 9, 33}) {
        std::vector<Product> products;
        std::size_t most = 1;
        for (const int rows : kSizes) {
          for (const int columns : kSizes) {
            products.push_back(kinds.product(random, rows, columns, tokens));
            if (products.size() < most) continue;
            check(products);
            products.clear();
            most = most % wkv::cuda::kMaxGemmProducts + 1;
          }
        }
      }
    });
  }

  TEST_CASE("the same where there are more outputs, and so larger tiles") {
    std::mt19937 random(2);
    Kinds kinds;
    wkv::test::in_every_order([&](const std::string& order) {
      CAPTURE(order);
      // Rows of one product that come to so many outputs.
      for (const auto& [tokens, many_rows] : {std::pair{1, 2049},
                                              {2, 1026},
                                              {4, 515},
                                              {5, 411},
                                              {8, 257},
                                              {9, 300},
                                              {9, 3643},
                                              {16, 2050},
                                              {33, 995}}) {
        for (const int columns : {17, 200}) {
          const Product products[] = {
              kinds.product(random, 3, columns, tokens), kinds.product(random, 63, 65, tokens),
              kinds.product(random, many_rows, 5, tokens), kinds.product(random, 13, columns + 4, tokens),
              kinds.product(random, 66, 128, tokens)};
          check(products);
        }
      }
    });
  }

  TEST_CASE("rows of thousands of columns, for one token and for some") {
    std::mt19937 random(3);
    for (const ElementType type : kTypes) {
      for (const int tokens : {1, 3, 70}) {
        for (const int columns : {2560, 4096 - 15}) {
          const Product products[] = {{random, type, 32, columns, tokens, GemmEpilogue::kTanh},
                                      {random, type, 7, columns, tokens, GemmEpilogue::kStore}};
          check(products);
        }
      }
    }
  }

  TEST_CASE("NaN and infinity reach what they reach on the CPU, also next to columns that are not there") {
    std::mt19937 random(4);
    for (const float bad : {kNaN, kInfinity, -kInfinity}) {
      for (const auto& [tokens, rows] : kTokensAndRows) {
        for (const int columns : {20, 65}) {
          for (const bool first_column : {false, true}) {
            Product product(random, ElementType::kF16, rows, columns, tokens, GemmEpilogue::kStore);
            const int column = first_column ? 0 : columns - 1;
            product.x[product.x.size() - static_cast<std::size_t>(columns - column)] = bad;
            for (int row = 0; row < rows; row += 3) product.put(row, column, 0);
            check({&product, 1});
          }
        }
      }
    }
  }

  TEST_CASE("what follows has the bits of the CPU's for numbers of every size") {
    std::mt19937 random(5);
    Floats values = {kNaN,
                     kInfinity,
                     -kInfinity,
                     0,
                     -0.0F,
                     0.25F,
                     -0.25F,
                     0.5F,
                     -0.5F,
                     88,
                     -88,
                     87,
                     -87,
                     1e-6F,
                     -1e-6F,
                     1e-20F,
                     -1e-20F,
                     3e38F,
                     -3e38F,
                     1e30F,
                     -1e30F,
                     std::nextafterf(0.5F, 1),
                     std::nextafterf(0.25F, 1),
                     2e-38F,
                     -2e-38F};
    for (const float limit : {0.001F, 0.5F, 1.0F, 20.0F, 100.0F}) {
      const Floats more = wkv::test::random_floats(random, 100, -limit, limit);
      values.insert(values.end(), more.begin(), more.end());
    }
    for (const GemmEpilogue epilogue : kEpilogues) {
      Product product(random, ElementType::kF32, 1, 1, static_cast<int>(values.size()), epilogue);
      product.x = values;
      product.put(0, 0, 1);
      std::fill(product.bias.begin(), product.bias.end(), 0.0F);
      check({&product, 1});
    }
  }

  TEST_CASE("every half is widened exactly, but what is denormal as a float is 0") {
    std::mt19937 random(6);
    for (const ElementType type : {ElementType::kF16, ElementType::kBf16}) {
      for (const int tokens : {1, 5}) {
        Product product(random, type, 1024, 64, tokens, GemmEpilogue::kStore);
        const std::uint32_t exponent = type == ElementType::kF16 ? 0x7c00U : 0x7f80U;
        for (std::uint32_t bits = 0; bits < 1024 * 64; ++bits) {
          // Neither infinity nor NaN, which would hide the others of the row.
          const bool finite = (bits & exponent) != exponent;
          product.put_bits(static_cast<int>(bits / 64), static_cast<int>(bits % 64), finite ? bits : 0);
        }
        for (float& x : product.x) x *= 0x1p-4F;
        check({&product, 1});
      }
    }
  }

  TEST_CASE("columns that only the panel has make 0 of -0, and no others do") {
    std::mt19937 random(7);
    // Products that are too small for a float, of a sign.
    for (const auto& [tokens, rows] : kTokensAndRows) {
      for (const int columns : {16, 20, 48, 144, 520}) {
        Product product(random, ElementType::kBf16, rows, columns, tokens, GemmEpilogue::kStore);
        for (int row = 0; row < rows; ++row) {
          for (int column = 0; column < columns; ++column) product.put(row, column, 1e-30F);
        }
        std::fill(product.x.begin(), product.x.end(), -1e-30F);
        CHECK(std::signbit(product.expected()[0]) == (columns % 16 == 0));
        check({&product, 1});
      }
    }
  }
}
