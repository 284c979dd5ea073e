// The program of scripts/gpu-check that compares instructions, on the simulated GPU, against arithmetic.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "gpu_check/instructions.h"
#include "test/cuda/on_device.h"
#include "test/support/numbers.h"

extern "C" std::int32_t wkv_run_instructions(const std::uint32_t* input, std::uint32_t* output,
                                             std::int32_t cases);

namespace check = wkv::gpu_check;

namespace {

constexpr int kCases = 40;

struct Run {
  Run()
      : input(std::size_t{kCases} * 32 * check::kInputWords),
        output(std::size_t{kCases} * 32 * check::kOutputWords) {
    std::mt19937 random(1);
    for (std::uint32_t& word : input) word = static_cast<std::uint32_t>(random());
    REQUIRE(wkv_run_instructions(input.data(), output.data(), kCases) == 0);
  }

  std::uint32_t in(int lane_of_all, int word) const {
    return input[static_cast<std::size_t>(lane_of_all * check::kInputWords + word)];
  }
  std::uint32_t out(int lane_of_all, int word) const {
    return output[static_cast<std::size_t>(lane_of_all * check::kOutputWords + word)];
  }

  std::vector<std::uint32_t> input;
  std::vector<std::uint32_t> output;
};

int byte_of(std::uint32_t word, int index) {
  return static_cast<std::int8_t>(static_cast<std::uint8_t>(word >> (8 * index)));
}

// Of the 128 lanes of four cases, the product of what lanes `row` and `row + 64` have of weights with what
// `token` and `token + 64` have of codes.
int wide_product(const Run& run, int first, int row, int token) {
  int sum = 0;
  for (int column = 0; column < 32; ++column) {
    const int part = column / 16 * 64;
    sum += byte_of(run.in(first + part + row, column % 16 / 4), column % 4) *
           byte_of(run.in(first + part + token, 4 + column % 16 / 4), column % 4);
  }
  return sum;
}

// How many sums of multiply_wide() differ from the fragments of the PTX ISA's table for wgmma with 64 tokens.
int wrong_wide_products(const Run& run, int architecture) {
  int wrong = 0;
  for (int first = 0; first < kCases * 32; first += check::kWideCases * 32) {
    for (int thread = 0; thread < check::kWideCases * 32; ++thread) {
      for (int i = 0; i < check::kWideSums; ++i) {
        const int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
        const int token = i / 4 * 8 + thread % 4 * 2 + i % 2;
        const int sum = architecture == 90 ? 2 * wide_product(run, first, row, token) : 0;
        wrong += run.out(first + thread, check::kWide + i) == static_cast<std::uint32_t>(sum) ? 0 : 1;
      }
    }
  }
  return wrong;
}

bool same(std::uint32_t actual, float expected) {
  return actual == (std::isnan(expected) ? 0x7fc00000U : wkv::bits_of(expected));
}

}  // namespace

TEST_CASE("the instructions that are compared on GPUs compute what they say") {
  // Which takes denormal numbers as zero; the simulated GPU does so on any thread.
  wkv::test::on_engine_thread([] {
    wkv::test::on_every_architecture([](int architecture) {
      CAPTURE(architecture);
      const Run run;
      CHECK(wrong_wide_products(run, architecture) == 0);
      int wrong = 0;
      for (int each = 0; each < kCases; ++each) {
        const int first = each * 32;
        // The fragments of the PTX ISA's table for mma.m16n8k32 with 8-bit operands: matrices first.
        int weights[16][32];
        int codes[32][8];
        for (int lane = 0; lane < 32; ++lane) {
          for (int i = 0; i < 16; ++i) {
            const int row = lane / 4 + (i < 4 || (i >= 8 && i < 12) ? 0 : 8);
            const int column = lane % 4 * 4 + i % 4 + (i < 8 ? 0 : 16);
            weights[row][column] = byte_of(run.in(first + lane, 4 + i / 4), i % 4);
          }
          for (int i = 0; i < 8; ++i) {
            const int column = lane % 4 * 4 + i % 4 + (i < 4 ? 0 : 16);
            codes[column][lane / 4] = byte_of(run.in(first + lane, 8 + i / 4), i % 4);
          }
        }
        for (int lane = 0; lane < 32; ++lane) {
          const int at = first + lane;
          for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + i / 2 * 8;
            const int token = lane % 4 * 2 + i % 2;
            int sum = static_cast<std::int32_t>(run.in(at, i)) / 256;
            for (int column = 0; column < 32; ++column) sum += weights[row][column] * codes[column][token];
            wrong += run.out(at, check::kProduct + i) == static_cast<std::uint32_t>(sum) ? 0 : 1;
            // Of the table for mma.m16n8k16, which is the first half.
            int products = 0;
            for (int column = 0; column < 16; ++column)
              products += weights[row][column] * codes[column][token];
            wrong += run.out(at, check::kUnitProduct + i) == static_cast<std::uint32_t>(products) ? 0 : 1;
            wrong += run.out(at, check::kCopied + i) == run.in(at, i) ? 0 : 1;
            wrong += run.out(at, check::kRows + i) == run.in(first + 8 * i + lane / 4, lane % 4) ? 0 : 1;
          }
          for (int i = 0; i < 5; ++i) {
            wrong += run.out(at, check::kShuffled + i) == run.in(first + (lane ^ (1 << i)), 10) ? 0 : 1;
          }
          for (int i = 0; i < 4; ++i) {
            const auto selector = static_cast<int>(run.in(at, 6) >> 4 * i & 15U);
            const int byte = byte_of(run.in(at, 4 + selector % 8 / 4), selector % 4);
            const int expected = selector < 8 ? byte : byte < 0 ? -1 : 0;
            wrong += byte_of(run.out(at, check::kSelected), i) == expected ? 0 : 1;
          }
          const float x = wkv::float_of(run.in(at, 11));
          const float y = wkv::float_of(run.in(at, 12));
          wrong += same(run.out(at, check::kFused), std::fma(x, y, wkv::float_of(run.in(at, 13)))) ? 0 : 1;
          wrong += same(run.out(at, check::kQuotient), x / y) ? 0 : 1;
          wrong += same(run.out(at, check::kRoot), std::sqrt(std::fabs(x))) ? 0 : 1;
          wrong += same(run.out(at, check::kTimes), x * y) ? 0 : 1;
          wrong += same(run.out(at, check::kPlus), x + y) ? 0 : 1;
          wrong +=
              same(run.out(at, check::kFromF16), wkv::f16_to_f32(static_cast<std::uint16_t>(run.in(at, 15))))
                  ? 0
                  : 1;
          const double rounded =
              std::nearbyint(static_cast<double>(static_cast<std::int32_t>(run.in(at, 14)) / 65'536) / 2);
          wrong +=
              static_cast<std::int32_t>(run.out(at, check::kNearest)) == static_cast<std::int32_t>(rounded)
                  ? 0
                  : 1;
          const auto moderate = [&](int word) {
            return static_cast<double>(static_cast<float>(static_cast<std::int32_t>(run.in(at, word))) /
                                       16'777'216.0F);
          };
          // Two units in the last place; arguments are clamped to where e^x is a normal number.
          const double power = std::exp(std::fmin(std::fmax(moderate(14), -87.0), 88.0));
          const auto exponential = static_cast<double>(wkv::float_of(run.out(at, check::kExponential)));
          wrong += std::fabs(exponential / power - 1) <= 4 * wkv::test::kRounding ? 0 : 1;
          // That, a sum and a division.
          const double sigmoid = 1 / (1 + std::exp(std::fmin(std::fmax(-moderate(13), -87.0), 88.0)));
          const auto of_gpu = static_cast<double>(wkv::float_of(run.out(at, check::kSigmoid)));
          const double off = of_gpu / sigmoid - 1;
          const bool is_denormal = sigmoid < static_cast<double>(std::numeric_limits<float>::min());
          wrong += is_denormal ? (of_gpu == 0 ? 0 : 1) : std::fabs(off) <= 8 * wkv::test::kRounding ? 0 : 1;
        }
      }
      CHECK(wrong == 0);
    });
  });
}
