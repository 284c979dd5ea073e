#pragma once

#include <algorithm>
#include <cmath>
#include <iterator>
#include <random>
#include <type_traits>
#include <vector>

#include "backend/cpu/memory.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm_int4/cuda.h"
#include "kernels/gemm_int4/gemm_int4.h"
#include "kernels/gemm_int8/cuda.h"
#include "kernels/gemm_int8/gemm_int8.h"
#include "test/cuda/on_device.h"
#include "test/support/numbers.h"

namespace wkv::test {

// Of a matrix.
struct ProductForm {
  int rows;
  int columns;
  int group;
};

// Calls body(text) with each of the instruction sets that products are written for, and with clusters.
template <class Body>
void in_every_form(Body body) {
  on_every_architecture([&](int architecture) {
    body("sm_" + std::to_string(architecture));
    if (architecture != 90) return;
    cuda::use_clusters(true);
    body("sm_90, clusters");
    cuda::use_clusters(false);
  });
}

// A matrix of 8 or 4 bits and activations, in the layouts that kernels of both sides take. Beyond its tokens
// there are numbers that nobody may use.
template <WeightBits kBits>
struct ProductCase {
  // Scales of 8 bits are 1 or 1/2 where sums are to be exact in whatever order. Of 4 bits every byte is
  // random, or 0.
  ProductCase(std::mt19937& random, int row_count, int column_count, int columns_of_a_group, int token_count,
              bool exact, bool extreme = false)
      : rows(row_count),
        columns(column_count),
        group(columns_of_a_group),
        tokens(token_count),
        padded(round_up(columns, 16)),
        stride(round_up(tokens, cuda::kTokenStep) + cuda::kTokenStep) {
    std::uniform_int_distribution<int> any_byte(-127, 127);
    std::bernoulli_distribution coin;
    const auto code = [&] { return extreme ? (coin(random) ? 127 : -127) : any_byte(random); };
    std::uniform_real_distribution<float> real(0.001F, 0.1F);
    const auto scale = [&] { return exact ? (coin(random) ? 1.0F : 0.5F) : real(random); };
    const int groups = (padded + group - 1) / group;
    for (int panel = 0; panel * kInt8PanelRows < rows; ++panel) {
      if constexpr (kBits == WeightBits::k4) {
        // Any byte is one that quantizing may give.
        std::generate_n(std::back_inserter(panels), panel_bytes(),
                        [&] { return static_cast<unsigned char>(extreme ? 0 : any_byte(random)); });
        continue;
      }
      for (int index = 0; index < groups; ++index) {
        const int size = std::min(group, padded - index * group);
        for (int i = 0; i < size * kInt8PanelRows; ++i) {
          panels.push_back(static_cast<unsigned char>(code() + 128));
        }
        for (int row = 0; row < kInt8PanelRows; ++row) {
          const float value = scale();
          const auto* const bytes = reinterpret_cast<const unsigned char*>(&value);
          panels.insert(panels.end(), bytes, bytes + sizeof value);
        }
      }
    }
    codes.resize(static_cast<std::size_t>(stride * padded));
    scales.resize(static_cast<std::size_t>(groups * stride), std::nanf(""));
    offsets.resize(scales.size(), 12345);
    for (int t = 0; t < round_up(tokens, cuda::kTileTokens); ++t) {
      for (int index = 0; index < groups; ++index) {
        int sum = 0;
        for (int column = index * group; column < std::min((index + 1) * group, padded); ++column) {
          const int value = column < columns ? code() : 0;
          sum += value;
          codes[place_of(t, column)] = static_cast<std::int8_t>(value);
        }
        scales[static_cast<std::size_t>(index * stride + t)] = scale();
        offsets[static_cast<std::size_t>(index * stride + t)] = -128 * sum;
      }
    }
  }

  std::size_t panel_bytes() const {
    return kBits == WeightBits::k4 ? int4_panel_bytes(padded, group) : int8_panel_bytes(padded, group);
  }

  std::size_t place_of(int token, int column) const {
    return static_cast<std::size_t>(token / cuda::kTileTokens * cuda::kTileTokens * padded +
                                    (column / 16 * cuda::kTileTokens + token % cuda::kTileTokens) * 16 +
                                    column % 16);
  }

  // The tokens from `first` on, a multiple of a tile, by the naive form.
  Floats expected(int first, int count) {
    Floats output(static_cast<std::size_t>(count * rows));
    Memory scratch(kGemmInt8ScratchFloats * sizeof(float));
    for (int row = 0; row < rows; row += kInt8PanelRows) {
      // Whole tiles: where a tile is not full, the naive form would have another layout.
      const int whole = round_up(count, cuda::kTileTokens);
      const int own_rows = std::min(rows - row, kInt8PanelRows);
      Floats part(static_cast<std::size_t>(whole * own_rows));
      constexpr auto kMultiply = kBits == WeightBits::k4 ? reference::gemm_int4 : reference::gemm_int8;
      kMultiply({
          .weights = panels.data() + static_cast<std::size_t>(row / kInt8PanelRows) * panel_bytes(),
          .x = {.tile_tokens = cuda::kTileTokens,
                .codes = codes.data() + place_of(first, 0),
                .scales = scales.data() + first,
                .offsets = offsets.data() + first,
                .stride = stride},
          .output = part.data(),
          .scratch = scratch.floats(),
          .output_stride = own_rows,
          .tokens = whole,
          .rows = own_rows,
          .padded_columns = padded,
          .group = group,
      });
      for (int t = 0; t < count; ++t) {
        for (int r = 0; r < own_rows; ++r) {
          output[static_cast<std::size_t>(t * rows + row + r)] =
              part[static_cast<std::size_t>(t * own_rows + r)];
        }
      }
    }
    return output;
  }

  struct Buffers {
    explicit Buffers(const ProductCase& c) : panels(c.panels), codes(c.codes), scales(c.scales) {
      using Panels = std::conditional_t<kBits == WeightBits::k4, cuda::Int4Panels, cuda::Int8Panels>;
      cuda::arrange_panels(Panels{panels.data(), c.rows, c.columns, c.group}, nullptr);
    }
    OnDevice<unsigned char> panels;
    OnDevice<std::int8_t> codes;
    OnDevice<float> scales;
  };

  cuda::QuantizedProduct product(Buffers& buffers, float* output, int first = 0,
                                 cuda::Epilogue epilogue = cuda::Epilogue::kStore,
                                 const float* gate = nullptr) const {
    return {
        buffers.panels.data(),
        {buffers.codes.data() + place_of(first, 0), buffers.scales.data() + first, stride, columns, group},
        output,
        gate,
        rows,
        epilogue};
  }

  static void multiply(const cuda::QuantizedProducts& products) {
    if constexpr (kBits == WeightBits::k4) {
      cuda::gemm_int4(products, nullptr);
    } else {
      cuda::gemm_int8(products, nullptr);
    }
  }

  Floats run(int first, int count) const {
    Buffers buffers(*this);
    OnDevice<float> output(static_cast<std::size_t>(count * rows));
    multiply({{product(buffers, output.data(), first)}, 1, count});
    return output.values();
  }
  Floats run() const { return run(0, tokens); }

  int rows, columns, group, tokens, padded, stride;
  std::vector<unsigned char> panels;
  std::vector<std::int8_t> codes;
  Floats scales;
  std::vector<std::int32_t> offsets;
};

}  // namespace wkv::test
