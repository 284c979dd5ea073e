// What the library does with the GPU's memory: pages of sessions, and graphs of steps.

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/cpu/thread_pool.h"
#include "test/cuda/library.h"
#include "test/cuda/random_weights.h"

using wkv::cuda::simt::graphs_in_use;
using wkv::test::cuda_api;
using wkv::test::cuda_model_of;
using wkv::test::CudaModel;
using wkv::test::free_memory;
using wkv::test::WithMachine;

namespace {

constexpr WkvCudaShape kShapeInRuns = wkv::test::small_shape(128, 2, 64);
// A state and logits, in whole runs of 64 floats.
constexpr std::size_t kPageBytes = (2 * 128 + 2 * 64 * 64 + 64) * sizeof(float);

// Pages of a model, all of which are destroyed at the end.
class Pages {
 public:
  ~Pages() { shrink(0); }

  // Null where there is no memory.
  WkvCudaPage* create(const CudaModel& of) {
    return keep(cuda_api().create_page(of.get(), &created_, nullptr));
  }
  WkvCudaPage* copy(const WkvCudaPage* page, WkvCudaType type) {
    return keep(cuda_api().copy_page(page, type, &created_, nullptr));
  }
  void shrink(std::size_t count) {
    while (pages_.size() > count) {
      cuda_api().destroy_page(pages_.back());
      pages_.pop_back();
    }
  }
  std::size_t count() const { return pages_.size(); }
  WkvCudaPage* first() const { return pages_.front(); }

 private:
  WkvCudaPage* keep(int code) {
    if (code == WKV_CUDA_MEMORY) return nullptr;
    REQUIRE(code == WKV_CUDA_OK);
    pages_.push_back(created_);
    return created_;
  }

  WkvCudaPage* created_ = nullptr;
  std::vector<WkvCudaPage*> pages_;
};

// Machine with memory for a model of kShapeInRuns and so many pages, and what stays free.
std::size_t memory_for(std::size_t pages) {
  const std::size_t before = free_memory();
  const CudaModel model = cuda_model_of(kShapeInRuns);
  return (before - free_memory() + pages * kPageBytes) * 32 / 31 + 64;
}

}  // namespace

TEST_SUITE("CUDA memory") {
  TEST_CASE("a page that outlives its model keeps little of what the others had") {
    const std::size_t all = free_memory();
    Pages pages;
    {
      const CudaModel model = cuda_model_of(kShapeInRuns);
      for (int i = 0; i < 200; ++i) pages.create(model);
      const std::size_t blocks = wkv::cuda::simt::blocks_in_use();
      pages.shrink(1);
      // They are kept for the next sessions.
      CHECK(wkv::cuda::simt::blocks_in_use() == blocks);
    }
    CHECK(all - free_memory() == kPageBytes);
    pages.shrink(0);
    CHECK(free_memory() == all);
  }

  TEST_CASE("of pages that outlive their model, a block is given back with its last one") {
    const std::size_t all = free_memory();
    Pages pages;
    {
      const CudaModel model = cuda_model_of(kShapeInRuns);
      for (int i = 0; i < 200; ++i) pages.create(model);
    }
    CHECK(all - free_memory() >= 200 * kPageBytes);
    pages.shrink(1);
    CHECK(all - free_memory() == kPageBytes);
    pages.shrink(0);
    CHECK(free_memory() == all);
  }

  TEST_CASE("a model gets the memory that another's sessions have left") {
    const WithMachine with({.memory = memory_for(300)});
    const CudaModel first = cuda_model_of(kShapeInRuns);
    const CudaModel second = cuda_model_of(kShapeInRuns);
    {
      Pages pages;
      while (pages.create(first) != nullptr) {
      }
      Pages others;
      CHECK(others.create(second) == nullptr);
      pages.shrink(1);
      for (int i = 0; i < 50; ++i) CHECK(others.create(second) != nullptr);
    }
  }

  TEST_CASE("packed pages get the memory of others that are gone, and the other way round") {
    const WithMachine with({.memory = memory_for(100)});
    {
      const CudaModel model = cuda_model_of(kShapeInRuns);
      Pages unpacked;
      while (unpacked.create(model) != nullptr) {
      }
      const std::size_t most = unpacked.count();
      CHECK(most == 100);
      unpacked.shrink(1);
      Pages packed;
      while (packed.copy(unpacked.first(), WKV_CUDA_F16) != nullptr) {
      }
      // Half of the memory, in pages of half the size and some bytes.
      CHECK(packed.count() > 80);
      CHECK(packed.count() <= 105);
      packed.shrink(0);
      while (unpacked.create(model) != nullptr) {
      }
      CHECK(unpacked.count() == most);
    }
  }

  TEST_CASE("some memory stays free for what CUDA needs later") {
    const std::size_t memory = memory_for(50);
    const WithMachine with({.memory = memory});
    {
      const CudaModel model = cuda_model_of(kShapeInRuns);
      std::uint64_t fitting = 0;
      CHECK(cuda_api().pages_that_fit(model.get(), &fitting, nullptr) == WKV_CUDA_OK);
      CHECK(fitting == 50);
      Pages pages;
      while (pages.create(model) != nullptr) {
      }
      CHECK(pages.count() == 50);
      CHECK(free_memory() >= memory / 32);
    }
  }

  TEST_CASE("graphs are made for steps that come again, and the oldest goes") {
    const wkv::test::RandomWeights random(
        {.layers = 1, .channels = 32, .heads = 1, .head_size = 32, .feed_forward = 32, .vocabulary = 16}, 1);
    {
      const auto network = wkv::test::on_gpu(random, cuda_api(), 64e-5F);
      const auto workspace = network->create_workspace(1);
      std::vector<std::shared_ptr<wkv::DeviceNumbers>> states;
      for (int i = 0; i < 66; ++i) states.push_back(network->create_numbers());
      const std::uint32_t token = 3;
      const auto step = [&](std::size_t sessions) {
        std::vector<wkv::Segment> segments;
        for (std::size_t i = 0; i < sessions; ++i) {
          segments.push_back({{&token, 1}, nullptr, wkv::Logits::kNone, states[i].get(), nullptr});
        }
        static_cast<void>(
            network->step(segments, *workspace, wkv::ThreadPool::process(), 1, {}, [] { return false; }));
        return graphs_in_use();
      };
      CHECK(step(1) == 0);
      CHECK(step(1) == 1);
      CHECK(step(1) == 1);
      for (std::size_t sessions = 2; sessions <= 66; ++sessions) {
        step(sessions);
        step(sessions);
      }
      CHECK(graphs_in_use() == 64);
      // Those of 1 and 2 sessions are gone. Both come back, and then none is made any more.
      CHECK(step(1) == 63);
      CHECK(step(2) == 62);
      CHECK(step(1) == 63);
      CHECK(step(2) == 64);
      CHECK(step(1) == 64);
      CHECK(step(2) == 64);
    }
    CHECK(graphs_in_use() == 0);
  }

  TEST_CASE("steps are done, and nothing is lost, on a GPU that makes no graph of them") {
    const WithMachine with({.graph_error = cudaErrorInvalidResourceHandle});
    const wkv::test::RandomWeights random({}, 1);
    const auto network = wkv::test::on_gpu(random, cuda_api(), 64e-5F);
    const auto workspace = network->create_workspace(1);
    const std::shared_ptr<wkv::DeviceNumbers> state = network->create_numbers();
    const std::uint32_t token = 3;
    const std::vector<wkv::Segment> one{{{&token, 1}, nullptr, wkv::Logits::kNone, state.get(), nullptr}};
    for (int i = 0; i < 4; ++i) {
      CHECK_NOTHROW(static_cast<void>(
          network->step(one, *workspace, wkv::ThreadPool::process(), 1, {}, [] { return false; })));
      CHECK(graphs_in_use() == 0);
    }
  }

  TEST_CASE("a step whose graph finds no memory for its launch is done without it") {
    const wkv::test::RandomWeights random({}, 1);
    const std::uint32_t token = 3;
    std::vector<std::vector<float>> states;
    for (const cudaError_t error : {cudaSuccess, cudaErrorMemoryAllocation}) {
      const WithMachine with({.launch_error = error});
      const auto network = wkv::test::on_gpu(random, cuda_api(), 64e-5F);
      const auto workspace = network->create_workspace(1);
      const std::shared_ptr<wkv::DeviceNumbers> state = network->create_numbers();
      const std::vector<wkv::Segment> one{{{&token, 1}, nullptr, wkv::Logits::kNone, state.get(), nullptr}};
      for (int i = 0; i < 4; ++i) {
        CHECK_NOTHROW(static_cast<void>(
            network->step(one, *workspace, wkv::ThreadPool::process(), 1, {}, [] { return false; })));
      }
      CHECK(graphs_in_use() == 1);
      states.emplace_back(network->info().state.numbers());
      state->read(states.back().data());
    }
    CHECK(wkv::test::bit_difference(states[1], states[0]) == "");
  }

  TEST_CASE("an error that the thread still has is not that of a model") {
    const CudaModel model = cuda_model_of(kShapeInRuns);
    const std::vector<float> ones(128, 1);
    void* memory = nullptr;
    CHECK(cudaMalloc(&memory, std::size_t{1} << 50) == cudaErrorMemoryAllocation);
    Pages pages;
    WkvCudaPage* const page = pages.create(model);
    CHECK(cudaMalloc(&memory, std::size_t{1} << 50) == cudaErrorMemoryAllocation);
    // It looks whether its kernel began.
    CHECK(pages.copy(page, WKV_CUDA_F16) != nullptr);
    CHECK(cuda_api().put_vector(model.get(), WKV_CUDA_LN1_BIAS, 0, ones.data(), 128, nullptr) == WKV_CUDA_OK);
  }
}
