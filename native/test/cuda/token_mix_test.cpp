#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>

#include "kernels/token_shift/cuda.h"
#include "test/cuda/quantized.h"

using wkv::cuda::MixQuantizeArguments;
using wkv::test::Floats;
using wkv::test::OnDevice;
using wkv::test::QuantizedNumbers;
using wkv::test::QuantizedOnDevice;

namespace {

// What one of the mixtures is made of, and where it goes.
struct Use {
  int group;  // 0: not quantized
  bool depends_on_token;
  bool plain;
  bool input_scales;
};

// On the GPU and, with the same numbers, by the CPU's kernels.
class Mixture {
 public:
  Mixture(std::mt19937& random, const Use& use, int tokens, int channels)
      : use_(use),
        channels_(channels),
        mix_(random_mix(random, channels)),
        of_token_(wkv::test::random_floats(random, static_cast<std::size_t>(tokens * channels), -0.3F, 0.3F)),
        scales_(wkv::test::random_floats(random, static_cast<std::size_t>(channels), 0.5F, 2)),
        expected_(tokens, channels, use.group == 0 ? 16 : use.group),
        expected_plain_(of_token_.size(), kUntouched),
        mix_there_(mix_),
        of_token_there_(of_token_),
        scales_there_(scales_),
        out_(expected_),
        plain_(expected_plain_) {}

  MixQuantizeArguments::Mix arguments() {
    MixQuantizeArguments::Mix mix{};
    mix.mix = mix_there_.data();
    if (use_.depends_on_token) mix.of_token = of_token_there_.data();
    if (use_.plain) mix.plain = plain_.data();
    if (use_.input_scales) mix.input_scales = scales_there_.data();
    if (use_.group != 0) mix.out = out_.out();
    return mix;
  }

  void check(const Floats& current, const Floats& previous) {
    INFO("group ", use_.group, ", of token: ", use_.depends_on_token, ", plain: ", use_.plain);
    const wkv::KernelTable& kernels = wkv::selected_kernels();
    for (int token = 0; token < expected_.tokens; ++token) {
      const std::ptrdiff_t row = std::ptrdiff_t{token} * channels_;
      Floats mixed = mix_;
      if (use_.depends_on_token) {
        mixed.assign(of_token_.begin() + row, of_token_.begin() + row + channels_);
        kernels.add(mixed.data(), mix_.data(), channels_);
      }
      kernels.token_shift(previous.data() + row, current.data() + row, mixed.data(), channels_, mixed.data());
      if (use_.plain) std::copy(mixed.begin(), mixed.end(), expected_plain_.begin() + row);
      if (use_.group != 0) {
        expected_.quantize(mixed.data(), use_.input_scales ? scales_.data() : nullptr, token);
      }
    }
    CHECK(out_.difference(expected_) == "");
    CHECK(wkv::test::bit_difference(plain_.values(), expected_plain_) == "");
  }

 private:
  static constexpr float kUntouched = 12345;

  // Adding 0 to the first would change it.
  static Floats random_mix(std::mt19937& random, int channels) {
    Floats mix = wkv::test::random_floats(random, static_cast<std::size_t>(channels), -0.2F, 1.2F);
    mix[0] = -0.0F;
    return mix;
  }

  Use use_;
  int channels_;
  Floats mix_, of_token_, scales_;
  QuantizedNumbers expected_;
  Floats expected_plain_;
  OnDevice<float> mix_there_, of_token_there_, scales_there_;
  QuantizedOnDevice out_;
  OnDevice<float> plain_;
};

void check(int tokens, int channels, const std::vector<Use>& uses, float bad = 0) {
  INFO(tokens, " tokens of ", channels, " channels");
  std::mt19937 random(static_cast<unsigned>(channels));
  const auto size = static_cast<std::size_t>(tokens * channels);
  Floats current = wkv::test::random_floats(random, size, -3, 5);
  Floats previous = wkv::test::random_floats(random, size, -3, 5);
  current[0] = -0.0F;
  previous[0] = 1;
  current[size / 2] = bad;
  previous[size / 3] = bad;
  OnDevice<float> of_current(current);
  OnDevice<float> of_previous(previous);
  std::vector<std::unique_ptr<Mixture>> mixtures;
  MixQuantizeArguments arguments{.current = of_current.data(),
                                 .previous = of_previous.data(),
                                 .mixes = {},
                                 .count = 0,
                                 .tokens = tokens,
                                 .channels = channels};
  for (const Use& use : uses) {
    mixtures.push_back(std::make_unique<Mixture>(random, use, tokens, channels));
    arguments.mixes[arguments.count++] = mixtures.back()->arguments();
  }
  wkv::cuda::mix_quantize(arguments, nullptr);
  for (const auto& mixture : mixtures) mixture->check(current, previous);
}

const std::vector<Use> kRwkv6 = {
    {0, true, true, false}, {64, true, false, true}, {64, true, false, false}, {128, true, false, true}};
const std::vector<Use> kAll = {{16, true, false, true},  {0, false, true, false},  {256, false, false, true},
                               {1200, true, true, true}, {48, false, true, false}, {32, true, true, false}};

}  // namespace

TEST_SUITE("CUDA token mix") {
  TEST_CASE("has the bits of the CPU's kernels one after another, for groups and channels of any number") {
    wkv::test::in_every_order([&](const std::string& order) {
      CAPTURE(order);
      for (const int channels : {1, 16, 72, 301, 514, 1200, 2403}) {
        check(3, channels, kRwkv6);
        check(9, channels, kAll);
        check(1, channels, {{48, true, false, true}});
      }
    });
  }

  TEST_CASE("is the same where a warp takes all mixes of a span in turn, as it does of many tokens") {
    for (const std::vector<Use>& uses : {kRwkv6, kAll}) check(345, 517, uses);
  }

  TEST_CASE("NaN and infinity touch no other group") {
    for (const float bad : {std::nanf(""), INFINITY}) check(5, 301, kAll, bad);
  }
}
