#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/trie.h"

namespace {

using Tokens = std::vector<std::uint32_t>;

std::vector<std::uint8_t> bytesOf(std::string_view text) { return {text.begin(), text.end()}; }

wkv::Trie build(const std::vector<std::string>& vocabulary) {
  std::vector<std::uint8_t> bytes;
  std::vector<std::uint32_t> offsets = {0};
  for (const std::string& token : vocabulary) {
    bytes.insert(bytes.end(), token.begin(), token.end());
    offsets.push_back(static_cast<std::uint32_t>(bytes.size()));
  }
  return wkv::Trie::build(bytes, offsets);
}

// The tokens of a text, and where encoding stopped.
struct Encoding {
  Tokens tokens;
  std::size_t encoded = 0;
  bool operator==(const Encoding&) const = default;
};

Encoding encode(const wkv::Trie& trie, std::string_view text) {
  Encoding result;
  result.encoded = trie.encode(bytesOf(text), result.tokens);
  return result;
}

// The definition, with nothing clever about it: try every length from the longest down.
Encoding encodeNaively(const std::vector<std::string>& vocabulary, std::string_view text) {
  std::map<std::string, std::uint32_t, std::less<>> ids;
  std::size_t longest = 0;
  for (std::uint32_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary[id].empty()) {
      ids.emplace(vocabulary[id], id);
      longest = std::max(longest, vocabulary[id].size());
    }
  }
  Encoding result;
  while (result.encoded < text.size()) {
    std::size_t length = std::min(longest, text.size() - result.encoded);
    auto found = ids.end();
    for (; length > 0 && found == ids.end(); --length) {
      found = ids.find(text.substr(result.encoded, length));
    }
    if (found == ids.end()) {
      break;
    }
    result.tokens.push_back(found->second);
    result.encoded += found->first.size();
  }
  return result;
}

std::string randomText(std::mt19937& random, std::string_view alphabet, std::size_t length) {
  std::string text(length, '\0');
  for (char& character : text) {
    character = alphabet[random() % alphabet.size()];
  }
  return text;
}

// What Trie::build says about a vocabulary that it refuses.
std::string refusal(const std::vector<std::uint8_t>& bytes, const std::vector<std::uint32_t>& offsets) {
  try {
    (void)wkv::Trie::build(bytes, offsets);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_SUITE("tokenizer trie") {
  TEST_CASE("takes the longest token that fits, left to right") {
    const wkv::Trie trie = build({"a", "ab", "abcd", "b", "c", "d"});
    CHECK(encode(trie, "abcd").tokens == Tokens{2});
    CHECK(encode(trie, "abc").tokens == Tokens{1, 4});  // looks as far as "abc", goes back to "ab"
    CHECK(encode(trie, "abab").tokens == Tokens{1, 1});
    CHECK(encode(trie, "dcba").tokens == Tokens{5, 4, 3, 0});
    // Greedy, not the fewest tokens: "aab" would also be "a" + "ab".
    CHECK(encode(build({"a", "aa", "ab", "b"}), "aab").tokens == Tokens{1, 3});
  }

  TEST_CASE("encodes nothing to nothing") { CHECK(encode(build({"a"}), "") == Encoding{{}, 0}); }

  TEST_CASE("appends to the tokens that are there") {
    Tokens tokens = {7};
    CHECK(build({"a"}).encode(bytesOf("aa"), tokens) == 2);
    CHECK(tokens == Tokens{7, 0, 0});
  }

  TEST_CASE("stops at the first byte that no token begins with") {
    const wkv::Trie trie = build({"a", "bc"});
    CHECK(encode(trie, "abcxa") == Encoding{{0, 1}, 3});
    CHECK(encode(trie, "ab") == Encoding{{0}, 1});  // "b" alone is no token
    CHECK(encode(trie, std::string_view("\0", 1)) == Encoding{{}, 0});
    CHECK(encode(trie, "\xff") == Encoding{{}, 0});
  }

  TEST_CASE("never produces an id without bytes, and counts it") {
    const wkv::Trie trie = build({"", "a", "", "b", ""});
    CHECK(trie.size() == 5);
    CHECK(encode(trie, "ab").tokens == Tokens{1, 3});
  }

  TEST_CASE("knows all 256 bytes, with children side by side and far apart") {
    std::vector<std::string> vocabulary;
    vocabulary.reserve(258);
    for (int byte = 0; byte < 256; ++byte) {
      vocabulary.emplace_back(1, static_cast<char>(byte));
    }
    vocabulary.emplace_back("\x01\x00", 2);
    vocabulary.emplace_back("\x01\xff", 2);
    const wkv::Trie trie = build(vocabulary);
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      CHECK(encode(trie, vocabulary[byte]).tokens == Tokens{byte});
      const std::string after = "\x01" + vocabulary[byte];
      CHECK(encode(trie, after) == encodeNaively(vocabulary, after));
    }
  }

  TEST_CASE("takes tokens of 256 bytes") {
    const std::string token(wkv::Trie::kMaxTokenBytes, 'x');
    const wkv::Trie trie = build({"x", token});
    CHECK(encode(trie, token + token + "x").tokens == Tokens{1, 1, 0});
    CHECK(encode(trie, std::string(wkv::Trie::kMaxTokenBytes - 1, 'x')).tokens.size() ==
          wkv::Trie::kMaxTokenBytes - 1);
  }

  TEST_CASE("agrees with the definition on random vocabularies and texts") {
    std::mt19937 random(20240128);
    // Few letters make long matches; letters far apart make sparse nodes.
    const std::string_view alphabets[] = {"ab", "abcdefgh",
                                          std::string_view("\0\x11\x40\x7f\x80\xfe\xff", 7)};
    for (int round = 0; round < 300; ++round) {
      const std::string_view alphabet = alphabets[random() % 3];
      std::map<std::string, int> distinct;
      const std::size_t count = 1 + random() % 200;
      for (std::size_t i = 0; i < count; ++i) {
        distinct[randomText(random, alphabet, 1 + random() % 9)] = 0;
      }
      std::vector<std::string> vocabulary = {""};
      for (const auto& [token, unused] : distinct) {
        vocabulary.push_back(token);
      }
      std::shuffle(vocabulary.begin(), vocabulary.end(), random);
      const wkv::Trie trie = build(vocabulary);
      for (int text = 0; text < 20; ++text) {
        const std::string bytes = randomText(random, alphabet, random() % 200);
        REQUIRE(encode(trie, bytes) == encodeNaively(vocabulary, bytes));
      }
      for (const std::string& token : vocabulary) {
        REQUIRE(encode(trie, token) == encodeNaively(vocabulary, token));
      }
    }
  }

  TEST_CASE("refuses vocabularies of nothing") {
    CHECK(refusal({}, {}) == "a vocabulary of no tokens");
    CHECK(refusal({}, {0}) == "a vocabulary of no tokens");
    CHECK(refusal({}, {0, 0, 0}) == "a vocabulary without a single token that has bytes");
  }

  TEST_CASE("refuses offsets that do not describe the bytes") {
    CHECK(refusal(bytesOf("abc"), {0, 3, 1, 3}) == "token offsets out of order at token 1");
    CHECK(refusal(bytesOf("abc"), {1, 3}).starts_with("token offsets from 1 to 3"));
    CHECK(refusal(bytesOf("abc"), {0, 4}).starts_with("token offsets from 0 to 4"));
    CHECK(refusal(bytesOf("abc"), {0, 2}).starts_with("token offsets from 0 to 2"));
    CHECK(refusal(bytesOf("abc"), {0, 4'000'000'000, 3}) != "");
  }

  TEST_CASE("refuses equal tokens, naming both") {
    CHECK(refusal(bytesOf("ababab"), {0, 2, 3, 4, 6}) == "tokens 0 and 3 have the same bytes");
  }

  TEST_CASE("refuses tokens that are too long, naming the first") {
    const std::vector<std::uint8_t> bytes(wkv::Trie::kMaxTokenBytes + 2, 'x');
    CHECK(refusal(bytes, {0, 1, static_cast<std::uint32_t>(bytes.size())}) ==
          "token 1 has 257 bytes; at most 256 are supported");
  }

  TEST_CASE("refuses vocabularies that are too large") {
    const std::vector<std::uint8_t> bytes(wkv::Trie::kMaxVocabularyBytes + 1, 'x');
    CHECK(refusal(bytes, {0, static_cast<std::uint32_t>(bytes.size())})
              .starts_with("a vocabulary of 16777217 bytes"));
  }

  TEST_CASE("takes memory in proportion to the bytes of a vocabulary, wherever its children lie") {
    // All strings of 4 of 16 letters that lie 17 apart: as many slots for a child as a dense node may have.
    std::vector<std::string> vocabulary;
    for (unsigned i = 0; i < 65536; ++i) {
      std::string token;
      for (unsigned shift = 0; shift < 16; shift += 4) {
        token.push_back(static_cast<char>((i >> shift & 15) * 17));
      }
      vocabulary.push_back(token);
    }
    // 65,536 * 4 bytes; at most 16 slots of 13 bytes for each of 69,905 nodes are 56 bytes for each.
    CHECK(build(vocabulary).memory() < 60u * 65536 * 4);
  }
}
