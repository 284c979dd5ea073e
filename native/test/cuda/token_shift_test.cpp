#include <doctest/doctest.h>

#include <deque>
#include <string>
#include <tuple>

#include "kernels/token_shift/cuda.h"
#include "test/cuda/quantized.h"

using wkv::cuda::Floats2;
using wkv::cuda::Segment;
using wkv::test::Floats;
using wkv::test::OnDevice;
using wkv::test::QuantizedNumbers;
using wkv::test::QuantizedOnDevice;

namespace {

using Lengths = std::vector<int>;
const Lengths kFew = {1, 4, 8};
// So many tokens that warps of some forms have all mixes of a span.
const Lengths kMany = {1, 2, 1, 4, 30, 9, 17};
constexpr float kEpsilon = 1e-5F;
constexpr int kOffset = 20;  // of the norm in a state

struct Form {
  int channels;
  int plain_group;
  int scaled_group;
};

// What a launch is asked for.
struct Use {
  bool share_of_before;
  bool rows;  // where the norms go
  int mixes;
};

struct Case {
  explicit Case(int channel_count, const Lengths& lengths = kFew)
      : channels(channel_count), random(static_cast<unsigned>(channel_count)), counts(lengths) {
    const auto size = static_cast<std::size_t>(channels);
    for (const int count : counts) {
      first.push_back(tokens);
      tokens += count;
    }
    x = wkv::test::random_floats(random, size * static_cast<std::size_t>(tokens), -3, 5);
    weight = wkv::test::random_floats(random, size, 0.5F, 2);
    bias = wkv::test::random_floats(random, size);
    for (Floats& mix : mixes) mix = wkv::test::random_floats(random, size, 0, 1);
    input_scales = wkv::test::random_floats(random, size, 0.5F, 2);
    for (std::size_t s = 0; s < counts.size(); ++s) {
      states.push_back(wkv::test::random_floats(random, kOffset + size + 7, -2, 2));
    }
  }

  Floats norm(int token) const {
    Floats output(static_cast<std::size_t>(channels));
    wkv::selected_kernels().layer_norm(x.data() + static_cast<std::ptrdiff_t>(token) * channels,
                                       weight.data(), bias.data(), kEpsilon, channels, output.data());
    return output;
  }

  int channels;
  std::mt19937 random;
  Floats x, weight, bias, input_scales;
  Floats mixes[wkv::cuda::kMaxMixes];
  int tokens = 0;
  // Of each segment.
  Lengths counts;
  std::vector<int> first;
  std::vector<Floats> states;
};

void check(const Form& form, const Use& use, const std::string& order, const Lengths& lengths = kFew) {
  const int channels = form.channels;
  INFO(order, ", ", channels, " channels, groups of ", form.plain_group, " and ", form.scaled_group);
  INFO(use.mixes, " mixes, share of before: ", use.share_of_before, ", rows: ", use.rows);
  Case c(channels, lengths);
  INFO(c.tokens, " tokens");
  OnDevice<float> x(c.x);
  OnDevice<float> weight(c.weight);
  OnDevice<float> bias(c.bias);
  std::deque<OnDevice<float>> mixes(std::begin(c.mixes), std::end(c.mixes));
  OnDevice<float> input_scales(c.input_scales);
  std::deque<OnDevice<float>> states(c.states.begin(), c.states.end());
  std::vector<Segment> all;
  std::vector<int> segment_of;
  for (std::size_t s = 0; s < c.counts.size(); ++s) {
    all.push_back({states[s].data(), c.first[s], c.counts[s]});
    segment_of.insert(segment_of.end(), static_cast<std::size_t>(c.counts[s]), static_cast<int>(s));
  }
  OnDevice<Segment> segments(all);
  OnDevice<int> of_token(segment_of);
  // By turns without and with input scales.
  std::vector<QuantizedNumbers> expected;
  std::deque<QuantizedOnDevice> quantized;
  for (int i = 0; i < use.mixes; ++i) {
    expected.emplace_back(c.tokens, channels, i % 2 == 0 ? form.plain_group : form.scaled_group);
    quantized.emplace_back(expected.back());
  }
  OnDevice<Floats2> moments(static_cast<std::size_t>(c.tokens));
  OnDevice<float> current(c.x.size());
  OnDevice<float> previous(c.x.size());
  wkv::cuda::ShiftQuantizeArguments arguments{.x = x.data(),
                                              .segments = segments.data(),
                                              .segment_count = static_cast<int>(all.size()),
                                              .segment_of = of_token.data(),
                                              .state_offset = kOffset,
                                              .norm = {weight.data(), bias.data()},
                                              .mixes = {},
                                              .count = use.mixes,
                                              .tokens = c.tokens,
                                              .channels = channels,
                                              .share_of_before = use.share_of_before,
                                              .moments = moments.data()};
  for (int i = 0; i < use.mixes; ++i) {
    const auto index = static_cast<std::size_t>(i);
    arguments.mixes[i] = {mixes[index].data(), i % 2 == 0 ? nullptr : input_scales.data(),
                          quantized[index].out()};
  }
  if (use.rows) {
    arguments.current = current.data();
    arguments.previous = previous.data();
  }
  wkv::cuda::shift_quantize(arguments, nullptr);
  Floats norms;
  Floats norms_before;
  for (int token = 0; token < c.tokens; ++token) {
    const auto s = static_cast<std::size_t>(segment_of[static_cast<std::size_t>(token)]);
    const Floats now = c.norm(token);
    const auto state = c.states[s].begin() + kOffset;
    const Floats before = token == c.first[s] ? Floats(state, state + channels) : c.norm(token - 1);
    norms.insert(norms.end(), now.begin(), now.end());
    norms_before.insert(norms_before.end(), before.begin(), before.end());
    for (int i = 0; i < use.mixes; ++i) {
      Floats mixed(now.size());
      const auto& [one, other] = use.share_of_before ? std::tie(before, now) : std::tie(now, before);
      wkv::selected_kernels().token_shift(one.data(), other.data(), c.mixes[i].data(), channels,
                                          mixed.data());
      expected[static_cast<std::size_t>(i)].quantize(mixed.data(),
                                                     i % 2 == 0 ? nullptr : c.input_scales.data(), token);
    }
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    CHECK(quantized[i].difference(expected[i]) == "");
  }
  if (use.rows) {
    CHECK(wkv::test::bit_difference(current.values(), norms) == "");
    CHECK(wkv::test::bit_difference(previous.values(), norms_before) == "");
  }
  for (std::size_t s = 0; s < c.counts.size(); ++s) {
    CAPTURE(s);
    Floats state = c.states[s];
    const Floats last = c.norm(c.first[s] + c.counts[s] - 1);
    std::copy(last.begin(), last.end(), state.begin() + kOffset);
    CHECK(wkv::test::bit_difference(states[s].values(), state) == "");
  }
}

}  // namespace

TEST_SUITE("CUDA token shift") {
  TEST_CASE("normalizes, shifts within each segment, quantizes, and leaves the last norm, as the CPU does") {
    wkv::test::in_every_order([&](const std::string& order) {
      for (const Form& form : {Form{16, 16, 16},
                               {72, 16, 64},
                               {300, 32, 16},
                               {301, 48, 128},
                               {514, 256, 96},
                               {1200, 64, 256},
                               {4400, 256, 128}}) {
        for (const Use& use : {Use{false, false, 2}, {true, true, 2}, {true, false, 1}, {false, true, 0}}) {
          check(form, use, order);
        }
      }
    });
  }

  TEST_CASE("has the same bits for many tokens") {
    wkv::test::in_every_order([&](const std::string& order) {
      for (const Use& use : {Use{false, true, 2}, {true, false, 2}, {false, false, 1}, {false, true, 0}}) {
        check({72, 16, 64}, use, order, kMany);
        check({301, 256, 128}, use, order, kMany);
        check({301, 48, 32}, use, order, kMany);
      }
      // Parts of five spans, each shared by two warps.
      check({2500, 128, 256}, {false, false, 2}, order, kMany);
      check({514, 256, 64}, {false, true, 2}, order, {75});
    });
    // More spans than a block has warps.
    check({4400, 256, 128}, {false, true, 2}, "forward", kMany);
    check({4400, 256, 512}, {false, true, 2}, "forward");
    // Blocks of all spans whose warps have both mixes.
    check({72, 64, 16}, {true, true, 2}, "forward", {1, 129});
  }

  TEST_CASE("has the same bits for prompts") {
    wkv::test::in_every_order([&](const std::string& order) {
      check({256, 256, 64}, {false, false, 4}, order, kMany);
      check({512, 16, 128}, {true, false, 3}, order, {67});
    });
    check({1280, 256, 32}, {false, false, 2}, "forward", {3, 63});
    check({2048, 128, 256}, {true, false, 1}, "forward", {64});
    // Not in spans, or too many that begin: the other kernels.
    check({512, 512, 256}, {false, false, 2}, "forward", {65});
    check({512, 256, 256}, {false, true, 2}, "forward", {65});
    check({512, 256, 256}, {false, false, 2}, "forward", Lengths(40, 2));
  }

  TEST_CASE("the norm of chosen rows, quantized, has the bits of the CPU's") {
    for (const Form& form : {Form{100, 32, 16}, {100, 48, 16}, {1025, 256, 16}, {6080, 256, 512}}) {
      const int channels = form.channels;
      Case c(channels);
      OnDevice<float> x(c.x);
      OnDevice<float> weight(c.weight);
      OnDevice<float> bias(c.bias);
      OnDevice<float> input_scales(c.input_scales);
      const std::vector<int> chosen = {12, 0, 5};
      OnDevice<int> rows(chosen);
      for (const int group : {form.plain_group, form.scaled_group}) {
        CAPTURE(channels);
        CAPTURE(group);
        const bool with_scales = group == form.scaled_group;
        QuantizedNumbers expected(3, channels, group);
        QuantizedOnDevice out(expected);
        wkv::cuda::norm_quantize({x.data(),
                                  rows.data(),
                                  {weight.data(), bias.data()},
                                  with_scales ? input_scales.data() : nullptr,
                                  out.out(),
                                  3},
                                 nullptr);
        for (int i = 0; i < 3; ++i) {
          expected.quantize(c.norm(chosen[static_cast<std::size_t>(i)]).data(),
                            with_scales ? c.input_scales.data() : nullptr, i);
        }
        CHECK(out.difference(expected) == "");
      }
    }
  }

  TEST_CASE("embeds tokens of every type with the bits of the CPU's norm") {
    constexpr int kChannels = 1100;
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
      wkv::selected_kernels().layer_norm(table.data() + static_cast<std::ptrdiff_t>(token) * kChannels,
                                         weight.data(), bias.data(), kEpsilon, kChannels, row.data());
      expected.insert(expected.end(), row.begin(), row.end());
    }
    OnDevice<float> of_f32(table);
    OnDevice<std::uint16_t> of_f16(f16);
    OnDevice<std::uint16_t> of_bf16(bf16);
    OnDevice<int> ids(tokens);
    OnDevice<float> weights(weight);
    OnDevice<float> biases(bias);
    using wkv::cuda::ElementType;
    for (const auto& [type, embedding] :
         {std::pair<ElementType, const void*>{ElementType::kF32, of_f32.data()},
          {ElementType::kF16, of_f16.data()},
          {ElementType::kBf16, of_bf16.data()}}) {
      OnDevice<float> x(expected.size());
      wkv::cuda::embed({embedding, type, ids.data(), {weights.data(), biases.data()}, x.data(), 4, kChannels},
                       nullptr);
      CHECK(wkv::test::bit_difference(x.values(), expected) == "");
    }
  }
}
