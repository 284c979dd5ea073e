#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "backend/cpu/cpu_features.h"
#include "kernels/wkv5/cuda.h"
#include "test/cuda/recurrence.h"

using wkv::cuda::Segment;
using wkv::test::Floats;
using wkv::test::OnDevice;
using wkv::test::Recurrence;

namespace {

constexpr int kOffset = 12;  // of the recurrence in a state

enum class ForgetOf : std::uint8_t { kChannel, kToken };  // RWKV-5, RWKV-6

struct Case {
  Case(std::mt19937& random, int head_count, int size, std::vector<int> token_counts,
       ForgetOf forget_of = ForgetOf::kChannel)
      : heads(head_count), head_size(size), counts(std::move(token_counts)) {
    for (const int count : counts) tokens += count;
    const auto channels = static_cast<std::size_t>(heads * head_size);
    const auto numbers = channels * static_cast<std::size_t>(tokens);
    r = wkv::test::random_floats(random, numbers);
    k = wkv::test::random_floats(random, numbers);
    v = wkv::test::random_floats(random, numbers);
    if (forget_of == ForgetOf::kToken) forget_stride = heads * head_size;
    forget = wkv::test::random_floats(random, forget_stride == 0 ? channels : numbers, 0, 1);
    for (std::size_t i = 0; i < forget.size(); i += 3) forget[i] *= 1e-4F;
    u = wkv::test::random_floats(random, channels);
    for (std::size_t s = 0; s < counts.size(); ++s) {
      states.push_back(
          wkv::test::random_floats(random, kOffset + channels * static_cast<std::size_t>(head_size)));
    }
  }

  int heads, head_size, forget_stride = 0, tokens = 0;
  std::vector<int> counts;  // of each segment
  Floats r, k, v, forget, u;
  std::vector<Floats> states;
};

// Heads of 64 have a form for segments of many tokens. What a step says of its tokens only chooses, so that
// tests can have each form for any segments.
enum class Form : std::uint8_t { kShort, kSequence };

// Each segment's tokens in pieces of at most so many.
Recurrence run(const Case& c, Form form, int piece = 1 << 20) {
  OnDevice<float> r(c.r);
  OnDevice<float> k(c.k);
  OnDevice<float> v(c.v);
  OnDevice<float> forget(c.forget);
  OnDevice<float> u(c.u);
  return wkv::test::run_in_pieces(c.counts, c.states, c.r.size(), piece,
                                  [&](const Segment* segments, int count, int /*tokens*/, float* y) {
                                    wkv::cuda::wkv5({.r = r.data(),
                                                     .k = k.data(),
                                                     .v = v.data(),
                                                     .y = y,
                                                     .forget = forget.data(),
                                                     .forget_stride = c.forget_stride,
                                                     .u = u.data(),
                                                     .segments = segments,
                                                     .state_offset = kOffset,
                                                     .count = count,
                                                     .tokens = form == Form::kShort ? 0 : 1 << 20,
                                                     .heads = c.heads,
                                                     .head_size = c.head_size},
                                                    nullptr);
                                  });
}

// By the CPU's kernel.
Recurrence expected(const Case& c) {
  Recurrence result{Floats(c.r.size()), c.states};
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(c.heads) * c.head_size;
  std::ptrdiff_t first = 0;
  for (std::size_t s = 0; s < c.counts.size(); ++s) {
    for (int head = 0; head < c.heads; ++head) {
      const std::ptrdiff_t channel = static_cast<std::ptrdiff_t>(head) * c.head_size;
      const std::ptrdiff_t at = first * stride + channel;
      wkv::selected_kernels().wkv5({.r = c.r.data() + at,
                                    .k = c.k.data() + at,
                                    .v = c.v.data() + at,
                                    .forget = c.forget.data() + first * c.forget_stride + channel,
                                    .u = c.u.data() + channel,
                                    .state = result.states[s].data() + kOffset + channel * c.head_size,
                                    .y = result.y.data() + at,
                                    .stride = stride,
                                    .forget_stride = c.forget_stride,
                                    .tokens = c.counts[s],
                                    .head_size = c.head_size});
    }
    first += c.counts[s];
  }
  return result;
}

}  // namespace

TEST_SUITE("CUDA wkv5") {
  TEST_CASE("has the bits of the CPU's kernel, for heads and runs of tokens of any size") {
    std::mt19937 random(1);
    for (const std::pair<int, int>& size :
         {std::pair{2, 64}, {3, 12}, {2, 80}, {1, 300}, {3, 5}, {2, 3}, {4, 1}, {2, 128}}) {
      const int heads = size.first;
      const int head_size = size.second;
      for (const ForgetOf forget_of : {ForgetOf::kChannel, ForgetOf::kToken}) {
        INFO(heads, " heads of ", head_size, forget_of == ForgetOf::kToken ? ", decays of each token" : "");
        // One chunk of the forms for 64 has 16 tokens, or 12 with their decays; one buffer of three is used
        // for the fourth.
        const Case c(random, heads, head_size,
                     head_size == 64 ? std::vector<int>{1, 5, 12, 13, 16, 17, 40, 8, 63, 66, 3}
                                     : std::vector<int>{1, 5, 2},
                     forget_of);
        const Recurrence cpu = expected(c);
        for (const Form form : {Form::kShort, Form::kSequence}) {
          if (head_size != 64 && form == Form::kSequence) continue;
          CAPTURE(static_cast<int>(form));
          wkv::test::in_every_order([&](const std::string& order) {
            CAPTURE(order);
            CHECK(difference(run(c, form), cpu) == "");
          });
        }
      }
    }
  }

  TEST_CASE("a state that only decays ends at 0, as on the CPU's threads, which flush denormals") {
    std::mt19937 random(4);
    Case c(random, 1, 64, {60});
    std::fill(c.k.begin(), c.k.end(), 0.0F);
    std::fill(c.forget.begin(), c.forget.end(), 0.3F);
    // 0.7^60 of them is at most 5e-10 of what it was, here below the smallest normal number.
    for (float& number : c.states[0]) number *= 1e-30F;
    Recurrence cpu;
    wkv::test::on_engine_thread([&] { cpu = expected(c); });
    CHECK(std::count(cpu.states[0].begin() + kOffset, cpu.states[0].end(), 0.0F) == std::ptrdiff_t{64} * 64);
    for (const Form form : {Form::kShort, Form::kSequence}) {
      CHECK(difference(run(c, form), cpu) == "");
    }
  }

  TEST_CASE("tokens in pieces, and beside other segments, have the same bits") {
    std::mt19937 random(2);
    for (const int head_size : {64, 24}) {
      for (const ForgetOf forget_of : {ForgetOf::kChannel, ForgetOf::kToken}) {
        const Case c(random, 2, head_size, {4, 19}, forget_of);
        const Recurrence whole = run(c, Form::kSequence);
        for (const Form form : {Form::kShort, Form::kSequence}) {
          for (const int piece : {1, 3, 17}) {
            CHECK(difference(run(c, form, piece), whole) == "");
          }
        }
        Case alone = c;
        const auto begin = static_cast<std::ptrdiff_t>(4) * 2 * head_size;
        for (Floats* values : {&alone.r, &alone.k, &alone.v}) {
          values->erase(values->begin(), values->begin() + begin);
        }
        const std::ptrdiff_t forget_begin = std::ptrdiff_t{4} * c.forget_stride;
        alone.forget.erase(alone.forget.begin(), alone.forget.begin() + forget_begin);
        alone.counts = {19};
        alone.states = {c.states[1]};
        const Recurrence one = run(alone, Form::kShort);
        CHECK(wkv::test::bit_difference(one.y, std::span(whole.y).subspan(static_cast<std::size_t>(begin))) ==
              "");
        CHECK(wkv::test::bit_difference(one.states[0], whole.states[1]) == "");
      }
    }
  }
}
