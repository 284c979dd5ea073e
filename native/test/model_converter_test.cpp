#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/model_converter.h"
#include "engine/model_loader.h"
#include "test/support/calls.h"
#include "test/support/model_file.h"
#include "test/support/numbers.h"
#include "test/support/refusal.h"

using wkv::Precision;
using wkv::StoredType;
using wkv::TensorDirectory;
using wkv::TensorEntry;
using wkv::test::kGoOn;
using wkv::test::Layout;
using wkv::test::refusal;
using wkv::test::TemporaryDirectory;

namespace {

// Widths that need padding, and groups that do not fill a row.
constexpr wkv::test::Dimensions kDimensions{
    .layers = 2, .embedding = 40, .heads = 5, .head_size = 8, .feed_forward = 72, .vocabulary = 50};

// What JavaScript makes of the plan: where everything lies, and how to read it again.
struct Plan {
  Plan(const TensorDirectory& source, const std::string& folder_and_name) {
    file = {.output = {.temporary = folder_and_name + ".part", .path = folder_and_name},
            .weights = Precision::kInt8};
    file.output.header.assign(4096, '.');
    file.fingerprint_at = 100;
    std::uint64_t end = file.output.header.size();
    for (const auto& matrix : wkv::plan_conversion(source, Precision::kInt8)) {
      add({.name = matrix.name,
           .shape = {matrix.rows, matrix.columns},
           .packed = {{.bytes = matrix.bytes, .group = matrix.group, .precision = matrix.precision}}},
          matrix.bytes, end);
    }
    const std::vector<TensorEntry> matrices = packed.tensors;
    for (const TensorEntry& matrix : matrices) {
      const std::int64_t columns = matrix.shape[1];
      add({.name = matrix.name + ".input_scales", .shape = {columns}, .strides = {1}},
          static_cast<std::uint64_t>(columns) * 4, end);
    }
    for (const TensorEntry& tensor : source.tensors) {
      if (file.output.places.contains(tensor.name)) continue;
      TensorEntry copy = tensor;
      std::int64_t count = 1;
      for (std::size_t i = copy.shape.size(); i-- > 0; count *= copy.shape[i]) copy.strides[i] = count;
      add(std::move(copy), static_cast<std::uint64_t>(count * bytes_of(tensor.type)), end);
    }
  }

  void add(TensorEntry tensor, std::uint64_t bytes, std::uint64_t& end) {
    file.output.places[tensor.name] = end;
    tensor.file = 0;
    tensor.offset = end;
    end += bytes;
    packed.tensors.push_back(std::move(tensor));
  }

  TensorEntry& tensor(const std::string& name) {
    return *std::find_if(packed.tensors.begin(), packed.tensors.end(),
                         [&](const TensorEntry& entry) { return entry.name == name; });
  }

  std::string convert(const TensorDirectory& source, const std::atomic<bool>& cancelled = kGoOn,
                      const wkv::LoadProgress& progress = {}) {
    const std::string fingerprint = wkv::convert_model(source, file, 2, cancelled, progress);
    packed.files = {wkv::test::source_file(file.output.path)};
    packed.packed = {.weights = Precision::kInt8, .fingerprint = fingerprint};
    return fingerprint;
  }

  // Writes bytes over those of the file.
  void overwrite(std::uint64_t offset, const void* bytes, std::size_t size) {
    std::fstream stream(file.output.path, std::ios::binary | std::ios::in | std::ios::out);
    stream.seekp(static_cast<std::streamoff>(offset));
    stream.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
    stream.close();
    packed.files = {wkv::test::source_file(file.output.path)};
  }

  wkv::PackedFile file;
  TensorDirectory packed;
};

std::shared_ptr<const wkv::LoadedModel> loaded(const TensorDirectory& directory,
                                               const wkv::LoadOptions& options = {}) {
  return wkv::load_model(directory, options, 2, kGoOn, {});
}

std::vector<float> logits(const wkv::LoadedModel& model) {
  wkv::Engine engine(model.network, 2, 4);
  const auto state = wkv::test::fresh_state(*model.network);
  return wkv::test::evaluate(engine, state, {1, 7, 3, 49, 0, 12}, wkv::Output::kAll)->values;
}

// A source and its conversion.
struct Pair {
  explicit Pair(StoredType type = StoredType::kBf16, Layout layout = Layout::kRows)
      : source(wkv::test::write_tensors(folder.file("source"), wkv::test::random_model(kDimensions, 3, type),
                                        layout)),
        plan(source, folder.file("packed")) {
    fingerprint = plan.convert(source);
  }
  TemporaryDirectory folder;
  TensorDirectory source;
  Plan plan;
  std::string fingerprint;
};

template <class Change>
wkv::Error loading(Change change) {
  Pair pair;
  change(pair.plan);
  wkv::Error mapped = refusal([&] { loaded(pair.plan.packed); });
  const wkv::Error copied = refusal([&] { loaded(pair.plan.packed, {.mmap = false}); });
  CHECK(mapped.code == copied.code);
  CHECK(mapped.message == copied.message);
  return mapped;
}

constexpr const char* kKey = "blocks.1.ffn.key.weight";

}  // namespace

TEST_SUITE("model converter") {
  TEST_CASE("a converted model has the bits and the fingerprint of its source in int8, mapped and copied") {
    for (const StoredType type : {StoredType::kF32, StoredType::kF16, StoredType::kBf16}) {
      for (const Layout layout : {Layout::kRows, Layout::kGaps, Layout::kColumns}) {
        const Pair pair(type, layout);
        const auto original = loaded(pair.source, {.weights = Precision::kInt8});
        CHECK(pair.fingerprint == original->fingerprint);
        const auto expected = logits(*original);
        for (const bool mmap : {true, false}) {
          const auto model = loaded(pair.plan.packed, {.mmap = mmap});
          CHECK(model->fingerprint == original->fingerprint);
          CHECK(wkv::test::bit_difference(logits(*model), expected) == "");
          CHECK(model->network->info().weight_bytes == original->network->info().weight_bytes);
          CHECK(model->network->info().parameters == original->network->info().parameters);
          CHECK(model->network->info().weights == Precision::kInt8);
        }
      }
    }
  }

  TEST_CASE("the same source gives the same file, however many threads there are") {
    Pair pair;
    const auto read = [](const std::string& path) {
      std::ifstream file(path, std::ios::binary);
      return std::string{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    };
    const std::string first = read(pair.plan.file.output.path);
    CHECK(first.size() > 20'000);
    CHECK(first.substr(100, 32) == pair.fingerprint);
    CHECK(refusal([&] { wkv::convert_model(pair.source, pair.plan.file, 1, kGoOn, {}); }).code == "EEXIST");
    pair.plan.file.output.overwrite = true;
    wkv::convert_model(pair.source, pair.plan.file, 1, kGoOn, {});
    CHECK(read(pair.plan.file.output.path) == first);
  }

  TEST_CASE("mapped and copied are two models, and each is shared") {
    const Pair pair;
    const auto mapped = loaded(pair.plan.packed);
    const auto copied = loaded(pair.plan.packed, {.mmap = false});
    CHECK(mapped != copied);
    CHECK(loaded(pair.plan.packed, {.weights = Precision::kInt8}) == mapped);
    CHECK(loaded(pair.plan.packed, {.mmap = false}) == copied);
    // Of other files nothing is mapped.
    CHECK(loaded(pair.source) == loaded(pair.source, {.mmap = false}));
  }

#if !defined(_WIN32)
  TEST_CASE("a mapped file may be replaced and deleted while it is used") {
    const Pair pair;
    const auto model = loaded(pair.plan.packed);
    const auto before = logits(*model);
    wkv::test::write_file(pair.folder.file("other"), std::vector<unsigned char>(100'000, 1));
    std::filesystem::rename(pair.folder.file("other"), pair.plan.file.output.path);
    CHECK(wkv::test::bit_difference(logits(*model), before) == "");
    std::filesystem::remove(pair.plan.file.output.path);
    CHECK(wkv::test::bit_difference(logits(*model), before) == "");
  }
#endif

  TEST_CASE("what is cancelled or fails leaves nothing, and what was there as it was") {
    const TemporaryDirectory folder;
    const auto source = wkv::test::write_tensors(folder.file("s"), wkv::test::random_model(kDimensions, 3));
    Plan plan(source, folder.file("packed"));
    wkv::test::write_file(folder.file("packed"), {1, 2, 3});
    const auto untouched = [&] {
      return std::filesystem::file_size(folder.file("packed")) == 3 &&
             !std::filesystem::exists(folder.file("packed.part"));
    };
    std::atomic<bool> cancelled{false};
    CHECK_THROWS_AS(plan.convert(source, cancelled, [&](std::uint64_t, std::uint64_t) { cancelled = true; }),
                    wkv::Cancelled);
    CHECK(untouched());
    // Called off when everything has been read.
    cancelled = false;
    CHECK_THROWS_AS(plan.convert(source, cancelled,
                                 [&](std::uint64_t done, std::uint64_t all) { cancelled = done == all; }),
                    wkv::Cancelled);
    CHECK(untouched());
    plan.file.output.places.erase("blocks.1.att.key.weight");
    const wkv::Error error = refusal([&] { plan.convert(source); });
    CHECK(error.code == "ERR_WKV_SHAPE");
    CHECK(error.tensor == "blocks.1.att.key.weight");
    CHECK(untouched());

    auto tensors = wkv::test::random_model(kDimensions, 3);
    tensors["head.weight"].values.back() = std::numeric_limits<float>::quiet_NaN();
    const auto damaged = wkv::test::write_tensors(folder.file("d"), tensors);
    Plan other(damaged, folder.file("packed"));
    CHECK(refusal([&] { other.convert(damaged); }).tensor == "head.weight");
    CHECK(untouched());
  }

  TEST_CASE("packed files are not packed again, and nothing is packed as plain numbers") {
    const Pair pair;
    CHECK(refusal([&] { wkv::plan_conversion(pair.plan.packed, Precision::kInt8); }).code ==
          "ERR_WKV_UNSUPPORTED");
    const wkv::Error error = refusal([&] { wkv::plan_conversion(pair.source, Precision::kF16); });
    CHECK(error.code == "ERR_WKV_UNSUPPORTED");
    CHECK(error.expected == "int8 or int4");
  }

  TEST_CASE("a packed file is loaded as what it is, and as nothing else") {
    const Pair pair;
    const wkv::Error error = refusal([&] { loaded(pair.plan.packed, {.weights = Precision::kF32}); });
    CHECK(error.code == "ERR_WKV_UNSUPPORTED");
    CHECK(error.expected == "int8");
    CHECK(error.found == "f32");
    TensorDirectory plain = pair.plan.packed;
    plain.packed->weights = Precision::kF32;
    CHECK(refusal([&] { loaded(plain); }).code == "ERR_WKV_FORMAT");
  }

  TEST_CASE("nothing that the header says of a matrix is believed") {
    const auto code = [](auto change) { return loading(change).code; };
    CHECK(code([](Plan&) {}) == "none");
    CHECK(code([](Plan& p) { p.tensor(kKey).shape[1] += 1; }) == "ERR_WKV_SHAPE");
    CHECK(code([](Plan& p) { p.tensor(kKey).shape = {40, 72}; }) == "ERR_WKV_SHAPE");
    CHECK(code([](Plan& p) { p.tensor(kKey).packed->group = 32; }) == "ERR_WKV_FORMAT");
    CHECK(code([](Plan& p) { p.tensor(kKey).packed->bytes -= 64; }) == "ERR_WKV_FORMAT");
    CHECK(code([](Plan& p) { p.tensor(kKey).offset += 1; }) == "ERR_WKV_FORMAT");
    CHECK(code([](Plan& p) { p.tensor(kKey).offset = ~std::uint64_t{63}; }) == "ERR_WKV_FORMAT");
    CHECK(code([](Plan& p) { p.tensor(kKey).file = 1; }) == "ERR_WKV_FORMAT");
    CHECK(code([](Plan& p) { p.tensor("head.weight").offset = p.packed.files[0].size / 64 * 64; }) ==
          "ERR_WKV_FORMAT");
    CHECK(code([](Plan& p) { p.tensor(kKey).name = "blocks.1.ffn.kez.weight"; }) == "ERR_WKV_SHAPE");
    CHECK(code([](Plan& p) { p.packed.tensors.pop_back(); }) == "ERR_WKV_SHAPE");
    CHECK(code([](Plan& p) { p.packed.tensors.push_back(p.tensor(kKey)); }) == "ERR_WKV_FORMAT");
    CHECK(code([](Plan& p) { p.tensor("head.weight.input_scales").name += "s"; }) == "ERR_WKV_UNSUPPORTED");
  }

  TEST_CASE("a file is packed as a whole or not at all") {
    CHECK(loading([](Plan& p) {
            TensorEntry& key = p.tensor(kKey);
            key.packed.reset();
            key.strides = {key.shape[1], 1};
          }).message == std::string("the tensor ") + kKey + " is not packed");
    CHECK(loading([](Plan& p) {
            p.tensor("emb.weight").packed = {.bytes = 64, .group = 16, .precision = Precision::kInt8};
          }).message == "the tensor emb.weight is packed");
    const std::string scales = "head.weight.input_scales";
    CHECK(loading([&](Plan& p) {
            TensorEntry& tensor = p.tensor(scales);
            tensor.shape.insert(tensor.shape.begin(), 1);
            tensor.strides.clear();
            tensor.packed = {.bytes = 64, .group = 0, .precision = Precision::kInt8};
          }).message == "the tensor " + scales + " is packed");
    CHECK(loading([](Plan& p) { p.packed.packed.reset(); }).message.find(" is packed") != std::string::npos);
    CHECK(loading([](Plan& p) { p.packed.packed->fingerprint.pop_back(); }).code == "ERR_WKV_FORMAT");
    CHECK(loading([](Plan& p) { p.packed.packed->fingerprint[5] = 'G'; }).code == "ERR_WKV_FORMAT");
  }

  TEST_CASE("damaged codes, scales, input scales and numbers are refused, naming the tensor") {
    const auto damaged = [](const std::string& name, std::uint64_t within, const void* bytes,
                            std::size_t size) {
      const wkv::Error error =
          loading([&](Plan& p) { p.overwrite(p.tensor(name).offset + within, bytes, size); });
      CHECK(error.tensor == name);
      return error.code;
    };
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float negative = -1;
    const float zero = 0;
    CHECK(damaged(kKey, 0, "\0", 1) == "ERR_WKV_FORMAT");
    // The scales of the first group follow its 16 columns of 32 rows.
    CHECK(damaged(kKey, 16 * 32, &nan, 4) == "ERR_WKV_FORMAT");
    CHECK(damaged(kKey, 16 * 32 + 31 * 4, &negative, 4) == "ERR_WKV_FORMAT");
    const std::string scales = std::string(kKey) + ".input_scales";
    for (const float& bad : {zero, negative, nan}) CHECK(damaged(scales, 8, &bad, 4) == "ERR_WKV_FORMAT");
    CHECK(damaged("emb.weight", 50 * 40 * 2 - 2, "\xff\x7f", 2) == "ERR_WKV_FORMAT");
    CHECK(damaged("blocks.0.ln1.weight", 0, "\x80\x7f", 2) == "ERR_WKV_FORMAT");
  }

  TEST_CASE("a file that was truncated or written again after its header was read is refused") {
    CHECK(loading([](Plan& p) { std::filesystem::resize_file(p.file.output.path, 30'000); }).code ==
          "ERR_WKV_FORMAT");
    CHECK(loading([](Plan& p) {
            const auto file = p.packed.files;
            p.overwrite(5000, "\1", 1);
            p.packed.files = file;
            p.packed.files[0].modified_ns -= 1;
          }).code == "ERR_WKV_FORMAT");
  }

  TEST_CASE("loading a packed file tells how far it is, and can be called off") {
    const Pair pair;
    for (const bool mmap : {true, false}) {
      std::uint64_t last = 0;
      std::uint64_t all = 0;
      const auto model = wkv::load_model(pair.plan.packed, {.mmap = mmap}, 1, kGoOn,
                                         [&](std::uint64_t completed, std::uint64_t total) {
                                           CHECK(completed > last);
                                           last = completed;
                                           all = total;
                                         });
      CHECK(last == all);
      CHECK(all > 20'000);
    }
    std::atomic<bool> cancelled{false};
    CHECK_THROWS_AS(wkv::load_model(pair.plan.packed, {}, 1, cancelled,
                                    [&](std::uint64_t, std::uint64_t) { cancelled = true; }),
                    wkv::Cancelled);
  }
}
