#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/model_loader.h"
#include "test/support/model_file.h"
#include "test/support/refusal.h"

using wkv::LoadedModel;
using wkv::StoredType;
using wkv::TensorDirectory;
using wkv::test::kGoOn;
using wkv::test::Layout;
using wkv::test::refusal;
using wkv::test::TemporaryDirectory;

namespace {

using Model = std::shared_ptr<const LoadedModel>;

Model load(const TensorDirectory& directory, const wkv::LoadOptions& options = {}) {
  return wkv::load_model(directory, options, 2, kGoOn, {});
}

// A model in a file of its own.
struct File {
  explicit File(unsigned seed = 1, StoredType type = StoredType::kF32)
      : directory(wkv::test::write_tensors(folder.file("m"), wkv::test::random_model({}, seed, type))) {}
  TemporaryDirectory folder;
  TensorDirectory directory;
};

}  // namespace

TEST_SUITE("model loader") {
  TEST_CASE("one file with one set of options is one model while anybody has it") {
    const File file;
    CHECK(!wkv::is_loaded(file.directory, {}));
    Model first = load(file.directory);
    CHECK(wkv::is_loaded(file.directory, {}));
    CHECK(load(file.directory) == first);
    const std::weak_ptr<const LoadedModel> old = first;
    first.reset();
    CHECK(old.expired());
    CHECK(!wkv::is_loaded(file.directory, {}));
    CHECK(load(file.directory)->fingerprint.size() == 32);
  }

  TEST_CASE("other options, another file or the same file changed are other models") {
    const File file;
    const File copy;
    const Model model = load(file.directory);
    CHECK(load(file.directory, {.weights = wkv::Precision::kF16}) != model);
    // What is the default anyway is the same model.
    CHECK(load(file.directory, {.weights = wkv::Precision::kF32}) == model);
    CHECK(load(file.directory, {.weights = {}, .group_norm_epsilon = 1e-5F}) != model);
    CHECK(load(copy.directory) != model);
    const auto rewritten = wkv::test::write_tensors(file.folder.file("m"), wkv::test::random_model({}, 2));
    CHECK(load(rewritten) != model);
    CHECK(load(rewritten)->fingerprint != model->fingerprint);
  }

  TEST_CASE("threads that load the same at once share one loading, also of what was loaded before") {
    for (const bool loaded_before : {false, true}) {
      CAPTURE(loaded_before);
      const File file;
      if (loaded_before) load(file.directory);  // and dropped
      std::atomic<int> loadings{0};
      std::vector<Model> models(4);
      std::vector<std::thread> threads;
      for (Model& model : models) {
        threads.emplace_back([&] {
          std::atomic<bool> first{true};
          model = wkv::load_model(file.directory, {}, 2, kGoOn, [&](std::uint64_t, std::uint64_t) {
            if (first.exchange(false)) ++loadings;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
          });
        });
      }
      for (std::thread& thread : threads) thread.join();
      CHECK(loadings == 1);
      for (const Model& model : models) CHECK(model == models[0]);
    }
  }

  TEST_CASE("a loading that fails leaves nothing behind, for those who wait either") {
    const File file;
    TensorDirectory broken = file.directory;
    broken.tensors.pop_back();
    CHECK(refusal([&] { load(broken); }).code == "ERR_WKV_SHAPE");
    CHECK(!wkv::is_loaded(file.directory, {}));
    CHECK(load(file.directory)->network->info().layers == 2);

    std::filesystem::resize_file(file.folder.file("m"), 100);
    std::atomic<int> refused{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back(
          [&] { refused += refusal([&] { load(file.directory); }).code == "ERR_WKV_FORMAT"; });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(refused == 3);
    CHECK(!wkv::is_loaded(file.directory, {}));
  }

  TEST_CASE("is cancelled while it reads, and the next one loads") {
    const File file;
    std::atomic<bool> cancelled{false};
    const auto cancelling = [&] {
      wkv::load_model(file.directory, {}, 1, cancelled,
                      [&](std::uint64_t, std::uint64_t) { cancelled = true; });
    };
    CHECK_THROWS_AS(cancelling(), wkv::Cancelled);
    CHECK(!wkv::is_loaded(file.directory, {}));
    CHECK(load(file.directory) != nullptr);
  }

  TEST_CASE("whoever waits for another's loading can be cancelled without disturbing it") {
    const File file;
    std::atomic<bool> reading{false};
    std::atomic<bool> go_on{false};
    Model model;
    std::thread loader([&] {
      model = wkv::load_model(file.directory, {}, 1, kGoOn, [&](std::uint64_t, std::uint64_t) {
        reading = true;
        while (!go_on) std::this_thread::yield();
      });
    });
    while (!reading) std::this_thread::yield();
    CHECK(wkv::is_loaded(file.directory, {}));
    const std::atomic<bool> cancelled{true};
    CHECK_THROWS_AS(wkv::load_model(file.directory, {}, 1, cancelled, {}), wkv::Cancelled);
    go_on = true;
    loader.join();
    CHECK(model != nullptr);
    CHECK(load(file.directory) == model);
  }

  TEST_CASE("when the one that loads is cancelled, one that waits takes over") {
    const File file;
    std::atomic<bool> reading{false};
    std::atomic<bool> cancelled{false};
    std::thread loader([&] {
      CHECK_THROWS_AS(wkv::load_model(file.directory, {}, 1, cancelled,
                                      [&](std::uint64_t, std::uint64_t) {
                                        reading = true;
                                        while (!cancelled) std::this_thread::yield();
                                      }),
                      wkv::Cancelled);
    });
    while (!reading) std::this_thread::yield();
    Model model;
    std::thread waiter([&] { model = load(file.directory); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    cancelled = true;
    loader.join();
    waiter.join();
    CHECK(model != nullptr);
  }

  TEST_CASE("who only shares takes what is there, waits for what is coming, and loads nothing") {
    const File file;
    const wkv::LoadOptions only{.only_shared = true};
    CHECK(load(file.directory, only) == nullptr);
    CHECK(!wkv::is_loaded(file.directory, {}));
    for (const bool comes : {true, false}) {
      std::atomic<bool> reading{false};
      std::atomic<bool> go_on{false};
      std::atomic<bool> cancelled{false};
      Model model;
      std::thread loader([&] {
        const auto loading = [&] {
          model = wkv::load_model(file.directory, {}, 1, cancelled, [&](std::uint64_t, std::uint64_t) {
            reading = true;
            while (!go_on) std::this_thread::yield();
          });
        };
        if (comes)
          loading();
        else
          CHECK_THROWS_AS(loading(), wkv::Cancelled);
      });
      while (!reading) std::this_thread::yield();
      Model shared = model;
      std::thread waiter([&] { shared = load(file.directory, only); });
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      cancelled = !comes;
      go_on = true;
      loader.join();
      waiter.join();
      CHECK((model != nullptr) == comes);
      CHECK(shared == model);
      if (comes) CHECK(load(file.directory, only) == model);
    }
  }

  TEST_CASE("the fingerprint is that of the stored weights, however they lie and are kept") {
    const auto tensors = wkv::test::random_model({}, 5, StoredType::kBf16);
    const TemporaryDirectory folder;
    const auto fingerprint = [&](const std::string& name, const wkv::test::Tensors& of, Layout layout,
                                 bool backwards, const wkv::LoadOptions& options) {
      return load(wkv::test::write_tensors(folder.file(name), of, layout, backwards), options)->fingerprint;
    };
    const std::string plain = fingerprint("a", tensors, Layout::kRows, false, {});
    CHECK(plain.find_first_not_of("0123456789abcdef") == std::string::npos);
    CHECK(fingerprint("b", tensors, Layout::kGaps, false, {}) == plain);
    CHECK(fingerprint("c", tensors, Layout::kColumns, true, {}) == plain);
    CHECK(fingerprint("d", tensors, Layout::kRows, false, {.weights = wkv::Precision::kF32}) == plain);
    auto flat = tensors;
    for (auto& [name, tensor] : flat) {
      if (tensor.shape.size() == 3) tensor.shape = {tensor.shape.back()};
    }
    CHECK(fingerprint("e", flat, Layout::kRows, false, {}) == plain);
    for (const std::string name : {"emb.weight", "blocks.1.att.time_faaaa", "head.weight", "ln_out.bias"}) {
      auto changed = tensors;
      changed[name].values.back() += 1;
      CHECK(fingerprint("f", changed, Layout::kRows, false, {}) != plain);
    }
  }

  TEST_CASE("what is no model of a known generation is refused") {
    const File file;
    TensorDirectory next = file.directory;
    next.tensors.push_back({.name = "blocks.0.ffn.s_emb.weight", .shape = {1}, .strides = {1}});
    const wkv::Error error = refusal([&] { load(next); });
    CHECK(error.code == "ERR_WKV_UNSUPPORTED");
    CHECK(error.found == "RWKV-7a (DeepEmbed)");
    CHECK(refusal([&] { wkv::inspect_weights(next, {}); }).code == "ERR_WKV_UNSUPPORTED");
    CHECK(refusal([&] { load({}); }).code == "ERR_WKV_UNSUPPORTED");
    CHECK(wkv::inspect_weights(file.directory, {}).parameters > 0);
  }
}
