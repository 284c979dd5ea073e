#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "kernels/layer_norm/layer_norm.h"
#include "kernels/token_shift/cuda.h"
#include "kernels/token_shift/token_shift.h"
#include "test/cuda/on_device.h"
#include "test/support/numbers.h"

using wkv::cuda::QuantizedTokens;
using wkv::cuda::Segment;
using wkv::test::Floats;
using wkv::test::OnDevice;

namespace {

constexpr int kTokens = 13;
constexpr int kStride = 32;
constexpr float kEpsilon = 1e-5F;
constexpr std::size_t kStateFloats = 400;
constexpr int kOffset = 20;  // of the norm in a state

// Quantized tokens on the device, and the numbers that they stand for.
struct Quantized {
  Quantized(int column_count, int columns_of_a_group)
      : columns(column_count),
        group(columns_of_a_group),
        padded((column_count + 15) / 16 * 16),
        codes(static_cast<std::size_t>(kStride * padded)),
        scales(static_cast<std::size_t>(kStride * (columns + group - 1) / group + kStride)),
        offsets(scales.values().size()) {}

  QuantizedTokens out() { return {codes.data(), scales.data(), offsets.data(), kStride, columns, group}; }

  float scale(int token, int column) { return scales.data()[column / group * kStride + token]; }
  float number(int token, int column) {
    const int place = token / 8 * 8 * padded + (column / 16 * 8 + token % 8) * 16 + column % 16;
    return static_cast<float>(codes.data()[place]) * scale(token, column);
  }

  int columns, group, padded;
  OnDevice<std::int8_t> codes;
  OnDevice<float> scales;
  OnDevice<std::int32_t> offsets;
};

// Every number is as near to the expected one as half a step allows; `rounding` is the error of what was
// quantized.
std::string difference(Quantized& actual, int token, const Floats& expected, double rounding) {
  Floats numbers;
  for (int column = 0; column < actual.columns; ++column) numbers.push_back(actual.number(token, column));
  return wkv::test::beyond(numbers, expected, [&](std::size_t column) {
    return 0.5000001 * static_cast<double>(actual.scale(token, static_cast<int>(column))) + 2 * rounding;
  });
}

struct Case {
  explicit Case(int channel_count) : channels(channel_count), random(static_cast<unsigned>(channel_count)) {
    const auto size = static_cast<std::size_t>(channels);
    x = wkv::test::random_floats(random, size * kTokens, -3, 5);
    weight = wkv::test::random_floats(random, size, 0.5F, 2);
    bias = wkv::test::random_floats(random, size);
    for (Floats& mix : mixes) mix = wkv::test::random_floats(random, size, 0, 1);
    input_scales = wkv::test::random_floats(random, size, 0.5F, 2);
    for (Floats& state : states) state = wkv::test::random_floats(random, kStateFloats, -2, 2);
  }

  Floats norm(int token) const {
    Floats output(static_cast<std::size_t>(channels));
    wkv::reference::layer_norm(x.data() + static_cast<std::ptrdiff_t>(token) * channels, weight.data(),
                               bias.data(), kEpsilon, channels, output.data());
    return output;
  }

  int channels;
  std::mt19937 random;
  Floats x, weight, bias, input_scales;
  Floats mixes[2];
  Floats states[3];
  // Segments of 1, 4 and 8 tokens.
  int first[3] = {0, 1, 5};
  int counts[3] = {1, 4, 8};
};

// Numbers of up to 12 in size, of sums of up to 256 terms of up to 25.
constexpr double kRoundingOfNorm = 64 * wkv::test::kRounding;

}  // namespace

TEST_SUITE("CUDA token shift") {
  TEST_CASE("normalizes, shifts within each segment, quantizes, and leaves the last norm in the state") {
    wkv::test::in_every_order([](const std::string& order) {
      for (const int channels : {16, 72, 300}) {
        INFO(order, ", ", channels, " channels");
        Case c(channels);
        OnDevice<float> x(c.x);
        OnDevice<float> weight(c.weight);
        OnDevice<float> bias(c.bias);
        OnDevice<float> mixes[] = {c.mixes[0], c.mixes[1]};
        OnDevice<float> input_scales(c.input_scales);
        OnDevice<float> states[] = {c.states[0], c.states[1], c.states[2]};
        std::vector<Segment> all;
        std::vector<int> segment_of;
        for (int s = 0; s < 3; ++s) {
          all.push_back({states[s].data(), c.first[s], c.counts[s]});
          segment_of.insert(segment_of.end(), static_cast<std::size_t>(c.counts[s]), s);
        }
        OnDevice<Segment> segments(all);
        OnDevice<int> of_token(segment_of);
        Quantized plain(channels, 16);
        Quantized scaled(channels, 64);
        wkv::cuda::shift_quantize({.x = x.data(),
                                   .segments = segments.data(),
                                   .segment_of = of_token.data(),
                                   .state_offset = kOffset,
                                   .norm = {weight.data(), bias.data()},
                                   .mixes = {{mixes[0].data(), nullptr, plain.out()},
                                             {mixes[1].data(), input_scales.data(), scaled.out()}},
                                   .count = 2,
                                   .tokens = kTokens,
                                   .channels = channels},
                                  nullptr);
        for (int token = 0; token < kTokens; ++token) {
          CAPTURE(token);
          const int s = segment_of[static_cast<std::size_t>(token)];
          const Floats current = c.norm(token);
          const Floats before = token == c.first[s] ? Floats(c.states[s].begin() + kOffset, c.states[s].end())
                                                    : c.norm(token - 1);
          for (int i = 0; i < 2; ++i) {
            Floats mixed(current.size());
            wkv::reference::token_shift(current.data(), before.data(), c.mixes[i].data(), channels,
                                        mixed.data());
            for (std::size_t j = 0; i == 1 && j < mixed.size(); ++j) mixed[j] *= c.input_scales[j];
            CHECK(difference(i == 0 ? plain : scaled, token, mixed, kRoundingOfNorm) == "");
          }
        }
        for (int s = 0; s < 3; ++s) {
          CAPTURE(s);
          Floats expected = c.states[s];
          const Floats last = c.norm(c.first[s] + c.counts[s] - 1);
          std::copy(last.begin(), last.end(), expected.begin() + kOffset);
          CHECK(wkv::test::beyond(states[s].values(), expected, [&](std::size_t i) {
                  const bool within = i >= kOffset && i < kOffset + last.size();
                  return within ? kRoundingOfNorm : 0.0;
                }) == "");
        }
      }
    });
  }

  TEST_CASE("the norm of chosen rows, quantized") {
    Case c(100);
    OnDevice<float> x(c.x);
    OnDevice<float> weight(c.weight);
    OnDevice<float> bias(c.bias);
    OnDevice<int> rows(std::vector<int>{12, 0, 5});
    Quantized out(100, 32);
    wkv::cuda::norm_quantize({x.data(), rows.data(), {weight.data(), bias.data()}, nullptr, out.out(), 3},
                             nullptr);
    CHECK(difference(out, 0, c.norm(12), kRoundingOfNorm) == "");
    CHECK(difference(out, 1, c.norm(0), kRoundingOfNorm) == "");
    CHECK(difference(out, 2, c.norm(5), kRoundingOfNorm) == "");
  }

  TEST_CASE("embeds tokens of every type") {
    constexpr int kChannels = 40;
    std::mt19937 random(3);
    // Numbers that all types hold exactly.
    Floats table(7 * kChannels);
    std::uniform_int_distribution<int> any(-100, 100);
    for (float& value : table) value = static_cast<float>(any(random)) / 32;
    std::vector<std::uint16_t> f16;
    std::vector<std::uint16_t> bf16;
    for (const float value : table) {
      f16.push_back(wkv::f32_to_f16(value));
      bf16.push_back(wkv::f32_to_bf16(value));
    }
    const Floats weight = wkv::test::random_floats(random, kChannels);
    const Floats bias = wkv::test::random_floats(random, kChannels);
    Floats expected;
    const std::vector<int> tokens = {6, 0, 3, 3};
    for (const int token : tokens) {
      Floats row(kChannels);
      wkv::reference::layer_norm(table.data() + static_cast<std::ptrdiff_t>(token) * kChannels, weight.data(),
                                 bias.data(), kEpsilon, kChannels, row.data());
      expected.insert(expected.end(), row.begin(), row.end());
    }
    OnDevice<float> of_f32(table);
    OnDevice<std::uint16_t> of_f16(f16);
    OnDevice<std::uint16_t> of_bf16(bf16);
    OnDevice<int> ids(tokens);
    OnDevice<float> weights(weight);
    OnDevice<float> biases(bias);
    using wkv::cuda::EmbeddingType;
    for (const auto& [type, embedding] :
         {std::pair<EmbeddingType, const void*>{EmbeddingType::kF32, of_f32.data()},
          {EmbeddingType::kF16, of_f16.data()},
          {EmbeddingType::kBf16, of_bf16.data()}}) {
      OnDevice<float> x(expected.size());
      wkv::cuda::embed({embedding, type, ids.data(), {weights.data(), biases.data()}, x.data(), 4, kChannels},
                       nullptr);
      CHECK(wkv::test::beyond(x.values(), expected, [](std::size_t) { return kRoundingOfNorm; }) == "");
    }
  }
}
