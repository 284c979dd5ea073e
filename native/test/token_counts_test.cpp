// Counts of tokens, which penalties need.

#include <doctest/doctest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/sampler.h"
#include "test/support/sampling.h"

using wkv::Sampling;
using wkv::TokenCounts;
using wkv::test::for_both;
using wkv::test::Sample;
using wkv::test::set_of;
using wkv::test::token;

TEST_SUITE("counts of tokens") {
  const auto listed = [](const TokenCounts& counts) {
    std::vector<std::pair<std::uint32_t, double>> list;
    for (const auto& [id, count] : counts.entries()) list.emplace_back(id, count);
    return list;
  };
  using List = std::vector<std::pair<std::uint32_t, double>>;

  TEST_CASE("each token makes all counts smaller, then its own larger by one") {
    TokenCounts counts;
    counts.count(7, 0.5, false);
    CHECK(listed(counts) == List{{7, 1}});
    counts.count(3, 0.5, false);
    CHECK(listed(counts) == List{{3, 1}, {7, 0.5}});
    counts.count(7, 0.5, false);
    CHECK(listed(counts) == List{{3, 0.5}, {7, 1.25}});
    counts.count(3, 0, false);
    CHECK(listed(counts) == List{{3, 1}, {7, 0}});
  }

  TEST_CASE("an exempt token is there, and counts nothing: the presence penalty still meets it") {
    TokenCounts counts;
    counts.count(1, 1, true);
    counts.count(1, 1, true);
    CHECK(listed(counts) == List{{1, 0}});
    for_both([&](Sample sample) {
      Sampling sampling;
      sampling.temperature = 0;
      sampling.presence_penalty = 1;
      sampling.frequency_penalty = 100;
      CHECK(token(sample, {0, 0.9F}, sampling, 0, counts) == 0);
      CHECK(token(sample, {0, 1.1F}, sampling, 0, counts) == 1);
    });
  }

  TEST_CASE("is_exempt finds exactly the exempt tokens") {
    Sampling sampling;
    CHECK(!sampling.is_exempt(0));
    sampling.exempt = set_of({2, 5});
    CHECK(sampling.is_exempt(2));
    CHECK(sampling.is_exempt(5));
    CHECK(!sampling.is_exempt(3));
    CHECK(!sampling.is_exempt(6));
  }
}
