#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "engine/architecture.h"
#include "test/support/refusal.h"

namespace {

using Shape = std::vector<std::int64_t>;

wkv::TensorDirectory named(const std::vector<std::string>& names, const Shape& decay = {4, 64}) {
  wkv::TensorDirectory directory;
  for (const std::string& name : names) {
    wkv::TensorEntry& tensor = directory.tensors.emplace_back();
    tensor.name = "blocks.0.att." + name;
    tensor.shape = decay;
  }
  return directory;
}

}  // namespace

TEST_SUITE("architecture") {
  TEST_CASE("every generation is told by its tensors") {
    CHECK(detect_version(named({"time_decay", "time_first"}, {256})) == "4");
    CHECK(detect_version(named({"time_decay", "ln_x.weight"}, {4})) == "5.0");
    CHECK(detect_version(named({"time_decay", "ln_x.weight", "gate.weight"}, {4})) == "5.1");
    CHECK(detect_version(named({"time_decay", "ln_x.weight", "gate.weight"}, {4, 1})) == "5.1");
    CHECK(detect_version(named({"time_decay", "ln_x.weight", "gate.weight"}, {4, 64})) == "5.2");
    CHECK(detect_version(named({"time_decay", "ln_x.weight", "gate.weight", "time_maa_x"}, {1, 1, 256})) ==
          "6");
    CHECK(detect_version(named({"r_k", "k_k"})) == "7");
    // With one head or without a gate it is a 5.2 all the same: what is missing is for others to say.
    CHECK(detect_version(named({"time_decay", "ln_x.weight", "gate.weight"}, {1, 64})) == "5.2");
    CHECK(detect_version(named({"time_decay", "ln_x.weight"}, {4, 64})) == "5.2");
  }

  TEST_CASE("a shape of no or of impossible dimensions does not confuse it") {
    CHECK(detect_version(named({"time_decay", "gate.weight"}, {})) == "5.1");
    CHECK(detect_version(named({"time_decay", "gate.weight"}, {-1, -1})) == "5.1");
  }

  TEST_CASE("what is no RWKV model is refused, saying what is missing") {
    const wkv::Error error = wkv::test::refusal([] { wkv::detect_version(named({"q_proj"})); });
    CHECK(error.code == "ERR_WKV_UNSUPPORTED");
    CHECK(error.tensor == "blocks.0.att.time_decay");
    CHECK(wkv::test::refusal([] { wkv::detect_version({}); }).code == "ERR_WKV_UNSUPPORTED");
    CHECK(wkv::test::refusal([] { wkv::detect_version(named({"key.weight"})); }).code == "ERR_WKV_SHAPE");
  }

  TEST_CASE("what is no RWKV model is refused with the names of a few of its tensors") {
    const auto found = [](const std::vector<std::string>& names) {
      const wkv::Error error = wkv::test::refusal([&] { wkv::detect_version(named(names)); });
      CHECK(error.code == "ERR_WKV_UNSUPPORTED");
      CHECK(error.message.ends_with(error.found));
      return error.found;
    };
    CHECK(found({}) == "none");
    CHECK(found({"a"}) == "blocks.0.att.a");
    CHECK(found({"a", "b"}) == "blocks.0.att.a and blocks.0.att.b");
    CHECK(found({"a", "b", "c"}) == "blocks.0.att.a, blocks.0.att.b and blocks.0.att.c");
    CHECK(found({"a", "b", "c", "d", "e"}) == "blocks.0.att.a, blocks.0.att.b, blocks.0.att.c and 2 others");
  }

  TEST_CASE("a tuned state is refused with the name of the function that loads it") {
    const auto refused = [](const std::vector<std::string>& names) {
      return wkv::test::refusal([&] { wkv::detect_version(named(names)); });
    };
    const wkv::Error error = refused({"time_state"});
    CHECK(error.code == "ERR_WKV_UNSUPPORTED");
    CHECK(error.tensor == "blocks.0.att.time_state");
    CHECK(error.message.find("model.loadTunedState") != std::string::npos);
    CHECK(refused({"time_state", "other"}).message.find("loadTunedState") == std::string::npos);
  }
}
