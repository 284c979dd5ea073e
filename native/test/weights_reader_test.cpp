#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <string>
#include <vector>

#include "engine/weights_reader.h"
#include "test/support/model_file.h"
#include "test/support/refusal.h"

using wkv::StoredType;
using wkv::TensorDirectory;
using wkv::TensorEntry;
using wkv::test::Dimensions;
using wkv::test::refusal;

namespace {

// A valid directory whose file nobody reads.
TensorDirectory valid(const Dimensions& dimensions = {}) {
  TensorDirectory directory;
  directory.files.push_back({.path = "nowhere", .size = 1'000'000});
  for (const auto& [name, tensor] : wkv::test::random_model(dimensions, 1)) {
    std::vector<std::int64_t> strides(tensor.shape.size(), 1);
    for (std::size_t i = strides.size(); i-- > 1;) strides[i - 1] = strides[i] * tensor.shape[i];
    directory.tensors.push_back(
        {.name = name, .type = tensor.type, .shape = tensor.shape, .strides = strides});
  }
  return directory;
}

TensorEntry& tensor(TensorDirectory& directory, const std::string& name) {
  return *std::find_if(directory.tensors.begin(), directory.tensors.end(),
                       [&](const TensorEntry& entry) { return entry.name == name; });
}

template <class Change>
wkv::Error inspecting(Change change) {
  TensorDirectory directory = valid();
  change(directory);
  return refusal([&] { wkv::inspect_weights(directory, {}); });
}

}  // namespace

TEST_SUITE("reading weights") {
  TEST_CASE("dimensions come from the shapes alone") {
    const Dimensions d{
        .layers = 3, .embedding = 20, .heads = 3, .head_size = 10, .feed_forward = 33, .vocabulary = 300};
    const wkv::ModelInfo info = wkv::inspect_weights(valid(d), {});
    CHECK(info.architecture == "rwkv5");
    CHECK(info.version == "5.2");
    CHECK(info.layers == 3);
    CHECK(info.embedding == 20);
    CHECK(info.heads == 3);
    CHECK(info.head_size == 10);
    CHECK(info.feed_forward == 33);
    CHECK(info.vocabulary == 300);
    CHECK(info.weights == wkv::Precision::kF32);
    // emb, head; ln0, ln_out; per layer ln1, ln2, 6 mixes, decay and bonus, 4 + 1 attention matrices, ln_x, 3
    // of ffn
    CHECK(info.parameters ==
          2 * 300 * 20 + 4 * 20 +
              3 * (4 * 20 + 6 * 20 + 2 * 30 + 5 * 30 * 20 + 2 * 30 + 2 * 33 * 20 + 20 * 20));
    CHECK(info.state.numbers() == 3 * (20 + 20 + 3 * 10 * 10));
    // Panels are padded to 4 rows and 16 columns: [30, 20] takes 32 * 32 numbers, [20, 30] 20 * 32.
    CHECK(info.weight_bytes ==
          4 * (300 * 20 + 300 * 32 + 4 * 20 +
               3 * (4 * 20 + 6 * 20 + 4 * 30 + 4 * 32 * 32 + 20 * 32 + 36 * 32 + 20 * 32 + 20 * 48)));
  }

  TEST_CASE("small models are kept in f32 and large ones in int8, unless something else is asked for") {
    TensorDirectory directory = valid();
    for (TensorEntry& entry : directory.tensors) entry.type = StoredType::kBf16;
    CHECK(wkv::inspect_weights(directory, {}).weights == wkv::Precision::kF32);
    CHECK(wkv::inspect_weights(directory, {.weights = wkv::Precision::kF16}).weights == wkv::Precision::kF16);

    // 2 * vocabulary * 24 numbers more than the layers have; the file must be as large as they say.
    for (TensorEntry& entry : directory.tensors) {
      if (entry.name == "emb.weight" || entry.name == "head.weight") {
        entry.shape[0] = 2'500'000;
        entry.offset = 0;
      }
    }
    directory.files[0].size = 200'000'000;
    const auto large = wkv::inspect_weights(directory, {});
    CHECK(large.parameters > 100'000'000);
    CHECK(large.weights == wkv::Precision::kInt8);
    // The embedding stays bf16; the head has a byte per number, a scale per 16, and whole panels of 32
    // columns.
    CHECK(large.weight_bytes > 2'500'000 * (2 * 24 + 32 + 2 * 4));
    CHECK(large.weight_bytes < 2'500'000 * (2 * 24 + 32 + 2 * 4) + 100'000);
  }

  TEST_CASE("every tensor is needed") {
    const std::size_t count = valid().tensors.size();
    for (std::size_t i = 0; i < count; ++i) {
      std::string name;
      const wkv::Error error = inspecting([&](TensorDirectory& directory) {
        name = directory.tensors[i].name;
        directory.tensors.erase(directory.tensors.begin() + static_cast<std::ptrdiff_t>(i));
      });
      CAPTURE(name);
      CHECK(error.code == "ERR_WKV_SHAPE");
      CHECK(error.tensor == name);
    }
  }

  TEST_CASE("every dimension of every tensor counts") {
    const std::size_t count = valid().tensors.size();
    for (std::size_t i = 0; i < count; ++i) {
      for (const std::int64_t change : {-1, 1}) {
        const wkv::Error error =
            inspecting([&](TensorDirectory& directory) { directory.tensors[i].shape.back() += change; });
        CAPTURE(i);
        CHECK(error.code == "ERR_WKV_SHAPE");
        CHECK(error.expected != "");
        CHECK(error.found != "");
      }
    }
  }

  TEST_CASE("impossible dimensions are refused before anything is computed from them") {
    constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
    const std::size_t count = valid().tensors.size();
    for (std::size_t i = 0; i < count; ++i) {
      for (const std::int64_t size :
           {std::int64_t{0}, std::int64_t{-1}, kHuge, std::int64_t{1} << 32, std::int64_t{1} << 24}) {
        for (const bool first : {true, false}) {
          const wkv::Error error = inspecting([&](TensorDirectory& directory) {
            auto& shape = directory.tensors[i].shape;
            (first ? shape.front() : shape.back()) = size;
          });
          CHECK((error.code == "ERR_WKV_SHAPE" || error.code == "ERR_WKV_FORMAT"));
        }
      }
      const wkv::Error error =
          inspecting([&](TensorDirectory& directory) { directory.tensors[i].shape.clear(); });
      CHECK((error.code == "ERR_WKV_SHAPE" || error.code == "ERR_WKV_FORMAT"));
      CHECK(inspecting([&](TensorDirectory& directory) { directory.tensors[i].offset = kHuge; }).code ==
            "ERR_WKV_FORMAT");
      CHECK(inspecting([&](TensorDirectory& directory) { directory.tensors[i].file = 7; }).code ==
            "ERR_WKV_FORMAT");
      CHECK(inspecting([&](TensorDirectory& directory) { directory.tensors[i].strides.pop_back(); }).code ==
            "ERR_WKV_FORMAT");
    }
  }

  TEST_CASE("consistent but giant dimensions of expanded tensors neither overflow nor take memory") {
    // Every tensor is one number, repeated; each alone passes every check.
    Dimensions d{
        .layers = 2, .embedding = 24, .heads = 2, .head_size = 12, .feed_forward = 40, .vocabulary = 19};
    for (const std::int64_t scale : {std::int64_t{1} << 10, std::int64_t{1} << 15, std::int64_t{1} << 19}) {
      TensorDirectory directory = valid(d);
      for (TensorEntry& entry : directory.tensors) {
        for (std::int64_t& size : entry.shape) {
          if (size == 24 || size == 40 || size == 19) size *= scale;
        }
        if (entry.name.find("time_decay") != std::string::npos ||
            entry.name.find("time_faaaa") != std::string::npos) {
          entry.shape = {2 * scale, 12};
        }
        entry.strides.assign(entry.shape.size(), 0);
      }
      const wkv::Error error = refusal([&] {
        const wkv::ModelInfo info = wkv::inspect_weights(directory, {.weights = wkv::Precision::kF32});
        // 11 matrices of at least (24 scale)^2 numbers.
        CHECK(info.weight_bytes >
              std::uint64_t{11 * 24 * 24 * 4} * static_cast<std::uint64_t>(scale * scale));
        CHECK(info.state.numbers() == static_cast<std::size_t>(2 * scale * (2 * 24 + 2 * 144)));
      });
      CHECK((error.code == "none" || error.code == "ERR_WKV_FORMAT" || error.code == "ERR_WKV_SHAPE"));
    }
  }

  TEST_CASE("heads whose state would be too large are refused") {
    const wkv::Error wide = inspecting([](TensorDirectory& d) {
      tensor(d, "blocks.0.att.time_decay").shape = {1, 5000};
    });
    CHECK(wide.code == "ERR_WKV_SHAPE");
    const wkv::Error many = inspecting([](TensorDirectory& d) {
      tensor(d, "blocks.0.att.time_decay").shape = {1 << 13, 1 << 12};
    });
    CHECK(many.code == "ERR_WKV_SHAPE");

    // Channels and heads each pass, but the state of a layer has 4096 * 2048^2 numbers, which are none in 32
    // bits.
    TensorDirectory directory = valid(
        {.layers = 2, .embedding = 24, .heads = 2, .head_size = 10, .feed_forward = 40, .vocabulary = 19});
    for (TensorEntry& entry : directory.tensors) {
      std::replace(entry.shape.begin(), entry.shape.end(), std::int64_t{20}, std::int64_t{1} << 23);
      if (entry.name.ends_with("time_decay") || entry.name.ends_with("time_faaaa")) {
        entry.shape = {4096, 2048};
      }
      entry.strides.assign(entry.shape.size(), 0);
    }
    const wkv::Error all = refusal([&] { wkv::inspect_weights(directory, {}); });
    CHECK(all.code == "ERR_WKV_SHAPE");
    CHECK(all.message.find("17179869184 numbers") != std::string::npos);
  }

  TEST_CASE("a decay for each head may have dimensions of 1 after it, but no other") {
    const auto with = [](std::int64_t last) {
      return inspecting([last](TensorDirectory& d) {
        for (TensorEntry& entry : d.tensors) {
          if (!entry.name.ends_with("time_decay") && !entry.name.ends_with("time_faaaa")) continue;
          entry.shape = {2, 1, last};
          entry.strides = {last, last, 1};
        }
      });
    };
    CHECK(with(1).code == "none");
    CHECK(with(2).code == "ERR_WKV_SHAPE");
    CHECK(with(2).tensor == "blocks.0.att.time_decay");
  }

  TEST_CASE("layers must be there without a gap, in a number that makes sense") {
    const auto renamed = [](const std::string& name) {
      return inspecting([&](TensorDirectory& d) { tensor(d, "blocks.1.ln1.weight").name = name; });
    };
    CHECK(renamed("blocks.2.ln1.weight").code == "ERR_WKV_SHAPE");
    CHECK(renamed("blocks.1024.ln1.weight").code == "ERR_WKV_SHAPE");
    CHECK(renamed("blocks.2147483647.ln1.weight").code == "ERR_WKV_SHAPE");
    CHECK(renamed("blocks.-1.ln1.weight").code == "ERR_WKV_SHAPE");
    CHECK(renamed("blocks.99999999999999999999.ln1.weight").code == "ERR_WKV_SHAPE");
    CHECK(renamed("blocks.01.ln1.weight").code == "ERR_WKV_SHAPE");
    CHECK(renamed("blocks.").code == "ERR_WKV_SHAPE");
    CHECK(renamed("blocks.1").code == "ERR_WKV_SHAPE");
    CHECK(renamed("").code == "ERR_WKV_SHAPE");
  }

  TEST_CASE("tensors that are there twice or do not belong are refused by name") {
    const wkv::Error twice = inspecting([](TensorDirectory& d) { d.tensors.push_back(d.tensors[5]); });
    CHECK(twice.code == "ERR_WKV_FORMAT");
    CHECK(twice.tensor == valid().tensors[5].name);
    const auto added = [](const std::string& name) {
      return inspecting(
          [&](TensorDirectory& d) { d.tensors.push_back({.name = name, .shape = {1}, .strides = {1}}); });
    };
    CHECK(added("blocks.0.att.time_maa_z").code == "ERR_WKV_UNSUPPORTED");
    CHECK(added("blocks.0.att.time_maa_z").tensor == "blocks.0.att.time_maa_z");
    CHECK(added("__proto__").code == "ERR_WKV_UNSUPPORTED");
    CHECK(added("blocks.00.ln1.weight").code == "ERR_WKV_UNSUPPORTED");
    // A tuned state belongs, but not with such a shape.
    CHECK(added("blocks.0.att.time_state").code == "ERR_WKV_SHAPE");
  }

  TEST_CASE("variants of RWKV and other programs' layouts are refused by what they are") {
    const auto found = [](const std::string& name) {
      const wkv::Error error = inspecting(
          [&](TensorDirectory& d) { d.tensors.push_back({.name = name, .shape = {1}, .strides = {1}}); });
      CHECK(error.code == "ERR_WKV_UNSUPPORTED");
      CHECK(error.tensor == name);
      return error.message;
    };
    const auto has = [](const std::string& text, const char* part) {
      return text.find(part) != std::string::npos;
    };
    CHECK(has(found("blocks.0.ffn.s_emb.weight"), "RWKV-7a (DeepEmbed)"));
    CHECK(has(found("blocks.11.qkv.k_emb_x.weight"), "RWKV-7b"));
    CHECK(has(found("blocks.3.ffn.enn.weight"), "RWKV-8 (DeepEmbed)"));
    CHECK(has(found("blocks.0.rosa.rosa_qkv.emb"), "RWKV-8 (ROSA)"));
    CHECK(has(found("model.layers.0.attn.x_proj.0.mu"), "flash-linear-attention"));
    CHECK(has(found("model.layers.27.self_attn.time_maa_w1"), "QRWKV"));
    CHECK(has(found("model.layers.0.self_attn.time_mixer.r_k"), "ARWKV"));
    // A variant is told by the part of a layer, not by parts of names anywhere.
    CHECK(has(found("blocks.0.attn.qkv.weight"), "does not belong"));
    CHECK(has(found("blocks..ffn.s_emb"), "does not belong"));
    CHECK(has(found("rosa.weight"), "does not belong"));
  }

  TEST_CASE("a model that has parts of several variants is called by the one that has them all") {
    const wkv::Error error = inspecting([](TensorDirectory& d) {
      d.tensors.push_back({.name = "blocks.0.ffn.s_emb.weight", .shape = {1}, .strides = {1}});
      d.tensors.push_back({.name = "blocks.0.qkv.qq.weight", .shape = {1}, .strides = {1}});
    });
    CHECK(error.tensor == "blocks.0.qkv.qq.weight");
  }

  TEST_CASE("vectors may carry leading dimensions of 1, matrices may not") {
    CHECK(inspecting([](TensorDirectory& d) {
            tensor(d, "ln_out.weight").shape = {1, 1, 1, 24};
            tensor(d, "ln_out.weight").strides = {9, 9, 9, 1};
          }).code == "none");
    CHECK(inspecting([](TensorDirectory& d) {
            tensor(d, "ln_out.weight").shape = {24, 1};
            tensor(d, "ln_out.weight").strides = {1, 1};
          }).code == "ERR_WKV_SHAPE");
    CHECK(inspecting([](TensorDirectory& d) {
            tensor(d, "head.weight").shape = {1, 19, 24};
            tensor(d, "head.weight").strides = {1, 24, 1};
          }).code == "ERR_WKV_SHAPE");
  }

  TEST_CASE("loading reports hashes of all tensors and keeps the dimensions") {
    const wkv::test::TemporaryDirectory folder;
    const auto directory = wkv::test::write_tensors(folder.file("m"), wkv::test::random_model({}, 3));
    const std::atomic<bool> go_on{false};
    const wkv::LoadedWeights loaded = wkv::load_weights(directory, {}, 2, go_on, {});
    CHECK(loaded.network->info().layers == 2);
    CHECK(loaded.hashes.size() == directory.tensors.size());
  }
}
