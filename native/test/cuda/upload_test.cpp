// From a file to the simulated GPU.

#include <doctest/doctest.h>

#include <atomic>
#include <limits>
#include <memory>

#include "backend/cpu/thread_pool.h"
#include "backend/cuda/api.h"
#include "engine/model_loader.h"
#include "simt/runtime.h"
#include "test/cuda/library.h"
#include "test/support/model_file.h"
#include "test/support/refusal.h"

using wkv::TensorDirectory;
using wkv::cuda::simt::blocks_in_use;
using wkv::cuda::simt::Machine;
using wkv::cuda::simt::set_machine;
using wkv::test::cuda_api;
using wkv::test::free_memory;
using wkv::test::kGoOn;
using wkv::test::refusal;

namespace {

// A model in a file of its own.
struct File {
  explicit File(const wkv::test::Tensors& tensors = wkv::test::random_model({}, 1))
      : directory(wkv::test::write_tensors(folder.file("m"), tensors)) {}
  wkv::test::TemporaryDirectory folder;
  TensorDirectory directory;
};

std::shared_ptr<const wkv::LoadedModel> load(const TensorDirectory& directory,
                                             const WkvCudaApi& library = cuda_api(), unsigned threads = 1,
                                             const std::atomic<bool>& cancelled = kGoOn,
                                             const wkv::LoadProgress& progress = {}) {
  const wkv::LoadOptions options{.weights = wkv::Precision::kInt8, .cuda = &library};
  return wkv::load_model(directory, options, threads, cancelled, progress);
}

// The error of a loading on this machine, which leaves nothing there.
wkv::Error error_on(const Machine& machine, const File& file) {
  set_machine(machine);
  const wkv::Error error = refusal([&] { load(file.directory); });
  set_machine({});
  CHECK(blocks_in_use() == 0);
  CHECK(!wkv::is_loaded(file.directory, {.weights = wkv::Precision::kInt8, .cuda = &cuda_api()}));
  return error;
}

std::atomic<std::uint64_t> bytes_read{0};
std::atomic<std::uint64_t> bytes_read_at_first{0};
std::atomic<int> matrices_put{0};

std::int32_t counting_put_matrix(WkvCudaModel* model, std::int32_t matrix, std::int32_t layer,
                                 const WkvCudaMatrix* weights, WkvCudaFailure* failure) {
  if (matrices_put++ == 0) bytes_read_at_first = bytes_read.load();
  return cuda_api().put_matrix(model, matrix, layer, weights, failure);
}

std::int32_t losing_step(WkvCudaModel*, const WkvCudaSegment*, std::int32_t, float*,
                         WkvCudaFailure* failure) {
  failure->code = WKV_CUDA_LOST;
  return WKV_CUDA_LOST;
}

}  // namespace

TEST_SUITE("CUDA upload") {
  TEST_CASE("a model whose GPU was lost is shared with nobody any more") {
    const File file;
    WkvCudaApi losing = cuda_api();
    const auto model = load(file.directory, losing);
    CHECK(load(file.directory, losing) == model);
    losing.step = losing_step;
    const std::uint32_t token = 1;
    const auto numbers = model->network->create_numbers();
    const wkv::Segment segment{
        .tokens = {&token, 1}, .state = nullptr, .logits = wkv::Logits::kNone, .device = numbers.get()};
    const auto workspace = model->network->create_workspace(1);
    const auto step = [&] {
      model->network->step({&segment, 1}, *workspace, wkv::ThreadPool::process(), 1, {},
                           [] { return false; });
    };
    CHECK(refusal(step).code == "ERR_WKV_DEVICE");
    CHECK(model->network->is_lost());
    CHECK(!wkv::is_loaded(file.directory, {.weights = wkv::Precision::kInt8, .cuda = &losing}));
    CHECK(load(file.directory, losing) != model);
  }

  TEST_CASE("matrices go to the GPU while the file is read") {
    const File file;
    WkvCudaApi counting = cuda_api();
    counting.put_matrix = counting_put_matrix;
    std::uint64_t total = 0;
    const auto model = load(file.directory, counting, 1, kGoOn, [&](std::uint64_t done, std::uint64_t all) {
      bytes_read = done;
      total = all;
    });
    // The head, and eight of each layer.
    CHECK(matrices_put == 17);
    CHECK(bytes_read == total);
    CHECK(bytes_read_at_first < total / 2);
    CHECK(model->network->info().sessions_that_fit.value() > 0);
  }

  TEST_CASE("nothing stays on a GPU that is lost, wherever in the loading") {
    const File file;
    // 17 matrices, as many input scales, the embedding, 32 vectors.
    constexpr int kUploads = 67;
    for (int waits = 0; waits < kUploads; waits += 6) {
      CAPTURE(waits);
      const wkv::Error error = error_on({.lost_after = waits}, file);
      CHECK(error.code == "ERR_WKV_DEVICE");
      CHECK(error.message.find("the GPU failed while ") == 0);
    }
    set_machine({.lost_after = kUploads});
    CHECK(load(file.directory) != nullptr);
    set_machine({});
  }

  TEST_CASE("nothing stays on a GPU with too little memory, wherever it ends") {
    const File file;
    const std::size_t all = free_memory();
    auto model = load(file.directory);
    const std::size_t needed = all - free_memory();
    model.reset();
    CHECK(free_memory() == all);
    for (std::size_t less = 1; less < needed; less += needed / 20) {
      CAPTURE(less);
      const wkv::Error error = error_on({.memory = needed - less}, file);
      CHECK(error.code == "ERR_WKV_DEVICE");
      CHECK((error.message.find("there is not enough memory on the GPU while ") == 0 ||
             error.message.find("the weights take ") == 0));
    }
    set_machine({.memory = needed});
    model = load(file.directory);
    CHECK(model->network->info().sessions_that_fit == 0);
    model.reset();
    set_machine({});
  }

  TEST_CASE("nothing stays there when a loading is cancelled, wherever") {
    const File file;
    int calls = 0;
    load(file.directory, cuda_api(), 1, kGoOn, [&](std::uint64_t, std::uint64_t) { ++calls; });
    REQUIRE(calls > 40);
    for (int last = 1; last <= calls; last += 6) {
      CAPTURE(last);
      std::atomic<bool> cancelled{false};
      std::atomic<int> count{0};
      const auto cancelling = [&] {
        load(file.directory, cuda_api(), 2, cancelled, [&](std::uint64_t, std::uint64_t) {
          if (++count == last) cancelled = true;
        });
      };
      CHECK_THROWS_AS(cancelling(), wkv::Cancelled);
      CHECK(blocks_in_use() == 0);
    }
  }

  TEST_CASE("nothing stays there of a file that is damaged") {
    for (const char* name :
         {"blocks.0.att.key.weight", "blocks.1.ffn.value.weight", "emb.weight", "ln_out.bias"}) {
      auto tensors = wkv::test::random_model({}, 2);
      tensors.at(name).values.back() = std::numeric_limits<float>::quiet_NaN();
      const wkv::Error error = error_on({}, File(tensors));
      CHECK(error.code == "ERR_WKV_FORMAT");
      CHECK(error.tensor == name);
    }
  }
}
