// Thousands of draws on the simulated GPU, against both forms of the host's sampler.

#include <doctest/doctest.h>

#include "test/cuda/drawing.h"

using wkv::test::DrawCase;

TEST_SUITE("draws on the GPU") {
  TEST_CASE("the token is the host's, with options and logits at random") {
    std::mt19937 random(21);
    for (const std::size_t vocabulary : {1U, 2U, 31U, 32U, 33U, 257U, 511U}) {
      CAPTURE(vocabulary);
      std::vector<DrawCase> cases;
      for (int i = 0; i < 200; ++i) cases.push_back(wkv::test::random_case(random, vocabulary));
      CHECK(wkv::test::difference_to_host(cases) == "");
    }
  }

  TEST_CASE("vocabularies of several units, and searches through more numbers than are listed") {
    std::mt19937 random(22);
    for (const std::size_t vocabulary : {1024U, 1500U, 2049U, 4100U, 9001U}) {
      CAPTURE(vocabulary);
      std::vector<DrawCase> cases;
      for (int i = 0; i < 20; ++i) {
        cases.push_back(wkv::test::random_case(random, vocabulary));
        if (i % 5 == 0) cases.back().sampling.top_k = wkv::test::one_of<std::uint32_t>(random, {1023, 2000});
      }
      CHECK(wkv::test::difference_to_host(cases) == "");
    }
  }

  TEST_CASE("a vocabulary of 65,536") {
    std::mt19937 random(23);
    std::vector<DrawCase> cases;
    for (int i = 0; i < 20; ++i) cases.push_back(wkv::test::random_case(random, 65'536));
    CHECK(wkv::test::difference_to_host(cases) == "");
  }
}
