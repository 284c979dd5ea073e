// Whole models on the simulated GPU, against the engine on the CPU.

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "backend/cuda/api.h"
#include "kernels/rwkv5_layers/cuda.h"
#include "simt/runtime.h"
#include "simt/simt.h"
#include "test/cuda/on_device.h"
#include "test/cuda/random_weights.h"
#include "test/support/calls.h"
#include "test/support/refusal.h"

extern "C" const WkvCudaApi* wkv_cuda_api(uint32_t version);

using wkv::Engine;
using wkv::Network;
using wkv::Output;
using wkv::SessionState;
using wkv::cuda::LayersKind;
using wkv::test::evaluate;
using wkv::test::Floats;
using wkv::test::fresh_state;
using wkv::test::ModelShape;
using wkv::test::RandomWeights;
using Tokens = std::vector<std::uint32_t>;

namespace {

constexpr float kEpsilon = 64e-5F;

std::shared_ptr<const Network> on_gpu(const RandomWeights& random) {
  return wkv::test::on_gpu(random, *wkv_cuda_api(WKV_CUDA_API_VERSION), kEpsilon);
}
std::shared_ptr<const Network> on_cpu(const ModelShape& shape, unsigned seed, int group = 0) {
  RandomWeights random(shape, seed, group);
  return wkv::rwkv5::make_network(random.info, std::move(random.weights), kEpsilon);
}

Tokens random_tokens(unsigned seed, std::size_t count, int vocabulary) {
  std::mt19937 random(seed);
  Tokens tokens(count);
  for (std::uint32_t& token : tokens) {
    token = static_cast<std::uint32_t>(random() % static_cast<unsigned>(vocabulary));
  }
  return tokens;
}

Floats numbers_of(SessionState state) {
  if (state.numbers == nullptr) state.unshare();
  return {state.numbers->floats(), state.numbers->floats() + state.layout.numbers()};
}

}  // namespace

TEST_SUITE("CUDA model") {
  TEST_CASE("logits and states have the bits of the CPU, on every architecture") {
    // The last has rows of whole spans, for which prompts have kernels of their own.
    for (const ModelShape& shape :
         {ModelShape{},
          ModelShape{.channels = 136, .heads = 5, .head_size = 24, .feed_forward = 300, .vocabulary = 70},
          ModelShape{.channels = 256, .heads = 4, .head_size = 64, .feed_forward = 512, .vocabulary = 70},
          ModelShape{.weights = wkv::Precision::kInt4},
          ModelShape{.channels = 256,
          .heads = 4,
          .head_size = 64,
          .feed_forward = 512,
          .vocabulary = 70,
          .weights = wkv::Precision::kInt4}}) {
      const RandomWeights random(shape, 3);
      const auto network = on_gpu(random);
      Engine cpu(on_cpu(shape, 3), 1, 4);
      const Tokens tokens = random_tokens(4, 70, shape.vocabulary);
      const auto expected = evaluate(cpu, fresh_state(*network), tokens, Output::kAll);
      wkv::test::on_every_architecture([&](int architecture) {
        CAPTURE(architecture);
        Engine gpu(network, 1, 4);
        const std::uint64_t before = wkv::cuda::simt::threads_run();
        const auto actual = evaluate(gpu, fresh_state(*network), tokens, Output::kAll);
        CHECK(wkv::cuda::simt::threads_run() > before);
        CHECK(wkv::test::bit_difference(actual->values, expected->values) == "");
        CHECK(wkv::test::bit_difference(numbers_of(actual->state), numbers_of(expected->state)) == "");
      });
    }
  }

  TEST_CASE("single tokens have the same bits where one kernel computes all layers, also as a graph") {
    wkv::cuda::simt::set_architecture(90);
    const RandomWeights random({.channels = 512, .heads = 8, .feed_forward = 768, .vocabulary = 70}, 14);
    struct Result {
      Floats logits, state;
      int launches = 0;
    };
    const auto run = [&](LayersKind kind) {
      wkv::cuda::use_rwkv5_layers(kind);
      const auto network = on_gpu(random);
      wkv::cuda::use_rwkv5_layers(LayersKind::kNone);
      Engine engine(network, 1, 4);
      SessionState state = evaluate(engine, fresh_state(*network), random_tokens(15, 9, 70))->state;
      const int before = wkv::cuda::rwkv5_layers_launches();
      Result result;
      for (const std::uint32_t token : random_tokens(16, 5, 70)) {
        const auto evaluation = evaluate(engine, state, {token});
        state = evaluation->state;
        result.logits.insert(result.logits.end(), evaluation->values.begin(), evaluation->values.end());
      }
      result.launches = wkv::cuda::rwkv5_layers_launches() - before;
      result.state = numbers_of(state);
      return result;
    };
    const Result expected = run(LayersKind::kNone);
    CHECK(expected.launches == 0);
    for (const LayersKind kind : {LayersKind::kLanes, LayersKind::kBulk}) {
      const Result actual = run(kind);
      // The first one alone, then into the graph that the others are.
      CHECK(actual.launches == 2);
      CHECK(wkv::test::bit_difference(actual.logits, expected.logits) == "");
      CHECK(wkv::test::bit_difference(actual.state, expected.state) == "");
    }
  }

  TEST_CASE("a session has the same bits however it is cut, and whatever runs beside it") {
    const RandomWeights random({}, 5);
    const auto network = on_gpu(random);
    Engine engine(network, 1, 16);
    const Tokens tokens = random_tokens(6, 40, random.info.vocabulary);
    const auto whole = evaluate(engine, fresh_state(*network), tokens);
    for (const std::vector<std::size_t>& chunks : {std::vector<std::size_t>{1, 39}, {31, 1, 8}}) {
      SessionState state = fresh_state(*network);
      auto at = tokens.begin();
      for (const std::size_t chunk : chunks) {
        const auto end = at + static_cast<std::ptrdiff_t>(chunk);
        state = evaluate(engine, state, {at, end})->state;
        at = end;
      }
      CHECK(wkv::test::bit_difference(*state.logits, *whole->state.logits) == "");
      CHECK(wkv::test::bit_difference(numbers_of(state), numbers_of(whole->state)) == "");
    }
    std::vector<wkv::test::Call> calls;
    for (unsigned other = 0; other < 4; ++other) {
      calls.push_back(wkv::test::prepare(
          fresh_state(*network),
          other == 2 ? tokens : random_tokens(other, 1 + other * 7, random.info.vocabulary)));
    }
    std::vector<std::shared_ptr<wkv::Evaluation>> together;
    for (const auto& call : calls) together.push_back(call.evaluation);
    engine.submit(together);
    for (auto& call : calls) call.done.wait();
    CHECK(wkv::test::bit_difference(*together[2]->state.logits, *whole->state.logits) == "");
    CHECK(wkv::test::bit_difference(numbers_of(together[2]->state), numbers_of(whole->state)) == "");
  }

  TEST_CASE("a session moves between the CPU and the GPU, both ways") {
    const ModelShape shape{.head_size = 16};
    const RandomWeights random(shape, 7);
    const auto network = on_gpu(random);
    Engine gpu(network, 1, 4);
    Engine cpu(on_cpu(shape, 7), 1, 4);
    const Tokens tokens = random_tokens(8, 30, shape.vocabulary);
    const Tokens first(tokens.begin(), tokens.begin() + 14);
    const Tokens rest(tokens.begin() + 14, tokens.end());
    const Floats expected = evaluate(cpu, fresh_state(*network), tokens)->values;
    const auto half_on_cpu = evaluate(cpu, fresh_state(*network), first);
    const auto half_on_gpu = evaluate(gpu, fresh_state(*network), first);
    CHECK(wkv::test::bit_difference(evaluate(gpu, half_on_cpu->state, rest)->values, expected) == "");
    CHECK(wkv::test::bit_difference(evaluate(cpu, half_on_gpu->state, rest)->values, expected) == "");
  }

  TEST_CASE(
      "a state stays on the GPU, is copied when two sessions go on from it, and is read when it must be") {
    const ModelShape shape{.head_size = 16};
    const RandomWeights random(shape, 12);
    Engine gpu(on_gpu(random), 1, 4);
    const auto first = evaluate(gpu, fresh_state(gpu.network()), random_tokens(13, 5, shape.vocabulary));
    REQUIRE(first->state.device != nullptr);
    CHECK(first->state.numbers == nullptr);
    const Floats before = numbers_of(first->state);
    const auto one = evaluate(gpu, first->state, {1, 2});
    const auto two = evaluate(gpu, first->state, {1, 2});
    CHECK(one->state.device != two->state.device);
    CHECK(one->state.device != first->state.device);
    CHECK(numbers_of(first->state) == before);
    CHECK(numbers_of(one->state) == numbers_of(two->state));
    CHECK(numbers_of(one->state) != before);
    // Nobody else has it: it is changed in place.
    SessionState own = one->state;
    one->state = {};
    const wkv::DeviceNumbers* const page = own.device.get();
    CHECK(evaluate(gpu, std::move(own), {3})->state.device.get() == page);

    const auto bytes = wkv::serialize(first->state, wkv::StatePrecision::kF32);
    const SessionState again = wkv::deserialize(bytes);
    CHECK(numbers_of(again) == before);
    CHECK(evaluate(gpu, again, {1, 2})->values == two->values);
  }

  TEST_CASE("a state is packed on the GPU, with the bytes that it has on the CPU") {
    const ModelShape shape{.head_size = 16};
    const RandomWeights random(shape, 12);
    Engine gpu(on_gpu(random), 1, 4);
    const auto first = evaluate(gpu, fresh_state(gpu.network()), random_tokens(13, 5, shape.vocabulary));
    SessionState on_host = first->state;
    on_host.unshare();
    on_host.pack();
    REQUIRE(on_host.packed != nullptr);
    SessionState packed = first->state;
    packed.pack(gpu.network());
    REQUIRE(packed.device != nullptr);
    CHECK(packed.device != first->state.device);
    CHECK(packed.device->is_packed());
    CHECK(!first->state.device->is_packed());
    const wkv::DeviceNumbers* const page = packed.device.get();
    packed.pack(gpu.network());
    CHECK(packed.device.get() == page);
    for (const auto precision : {wkv::StatePrecision::kF16, wkv::StatePrecision::kF32}) {
      CHECK(wkv::serialize(packed, precision) == wkv::serialize(on_host, precision));
    }
    CHECK(packed.bytes() == on_host.bytes());
    CHECK(first->state.bytes() == 4 * first->state.layout.numbers());
    // It is unpacked to go on, whoever else has it.
    const auto one = evaluate(gpu, packed, {1, 2});
    const auto two = evaluate(gpu, on_host, {1, 2});
    CHECK(!one->state.device->is_packed());
    CHECK(packed.device.get() == page);
    CHECK(one->values == two->values);
    CHECK(numbers_of(one->state) == numbers_of(two->state));
    CHECK(one->values != evaluate(gpu, first->state, {1, 2})->values);
    // For another model it is read.
    Engine other(on_gpu(random), 1, 4);
    CHECK(evaluate(other, packed, {1, 2})->values == two->values);
    for (SessionState elsewhere : {packed, first->state}) {
      elsewhere.pack(other.network());
      REQUIRE(elsewhere.packed != nullptr);
      CHECK(elsewhere.device == nullptr);
      CHECK(wkv::serialize(elsewhere, wkv::StatePrecision::kF16) ==
            wkv::serialize(on_host, wkv::StatePrecision::kF16));
    }
  }

  TEST_CASE(
      "a packed state is saved as it is, and what is loaded is packed to the same bytes, also where rounding "
      "made its largest number a power of two") {
    const RandomWeights random({}, 12);
    Engine gpu(on_gpu(random), 1, 4);
    SessionState state = fresh_state(gpu.network());
    float* const numbers = state.numbers->floats();
    numbers[0] = 0.99999F;
    numbers[1] = 3e-10F;
    numbers[2] = 0.3F;
    SessionState on_host = state;
    on_host.unshare();
    on_host.pack();
    state.move_to(gpu.network());
    state.pack(gpu.network());
    REQUIRE(state.device != nullptr);
    const auto saved = wkv::serialize(on_host, wkv::StatePrecision::kF16);
    CHECK(wkv::serialize(state, wkv::StatePrecision::kF16) == saved);
    SessionState again = wkv::deserialize(saved);
    again.pack();
    CHECK(wkv::serialize(again, wkv::StatePrecision::kF16) == saved);
    again = wkv::deserialize(saved);
    again.move_to(gpu.network());
    again.pack(gpu.network());
    REQUIRE(again.device != nullptr);
    CHECK(wkv::serialize(again, wkv::StatePrecision::kF16) == saved);
    state.pack();
    CHECK(wkv::serialize(state, wkv::StatePrecision::kF16) == saved);
  }

  TEST_CASE("what has no room on the GPU when it is packed is packed on the host") {
    const RandomWeights random({}, 15);
    wkv::cuda::simt::set_machine({.memory = random.info.weight_bytes + (std::size_t{8} << 20)});
    {
      Engine gpu(on_gpu(random), 1, 4);
      const auto first = evaluate(gpu, fresh_state(gpu.network()), {1, 2, 3});
      std::vector<SessionState> all;
      const auto pack_another = [&] {
        all.push_back(first->state);
        all.back().pack(gpu.network());
        return all.back().device != nullptr;
      };
      while (all.size() < 2000 && pack_another()) continue;
      CHECK(all.size() > 16);
      CHECK(all.size() < 2000);
      CHECK(all.back().packed != nullptr);
      CHECK(numbers_of(all.back()) == numbers_of(all.front()));
      const Floats values = evaluate(gpu, all.back(), {4})->values;
      CHECK(!values.empty());
      CHECK(evaluate(gpu, all.front(), {4})->values == values);
    }
    wkv::cuda::simt::set_machine({});
  }

  TEST_CASE(
      "where unpacked states have all the memory, no other is unpacked, and others are packed on the host") {
    const RandomWeights random({}, 15);
    wkv::cuda::simt::set_machine({.memory = random.info.weight_bytes + (std::size_t{8} << 20)});
    {
      const auto network = on_gpu(random);
      SessionState first = fresh_state(*network);
      std::fill_n(first.numbers->floats(), first.layout.numbers(), 1.0F / 3);
      first.move_to(*network);
      SessionState early = first;
      early.pack(*network);
      const Floats rounded = numbers_of(early);
      std::vector<std::shared_ptr<wkv::DeviceNumbers>> unpacked;
      const wkv::Error full = wkv::test::refusal([&] {
        for (;;) unpacked.push_back(network->create_numbers());
      });
      CHECK(full.code == "ERR_WKV_DEVICE");
      SessionState state = first;
      state.pack(*network);
      // Packed pages are small enough for what unpacked ones left over.
      while (state.device != nullptr) {
        unpacked.push_back(std::move(state.device));
        state = first;
        state.pack(*network);
      }
      CHECK(state.packed != nullptr);
      CHECK(numbers_of(state) == rounded);

      const wkv::Error refused = wkv::test::refusal([&] { early.move_to(*network); });
      CHECK(refused.code == "ERR_WKV_DEVICE");
      REQUIRE(early.device != nullptr);
      CHECK(early.device->is_packed());
      CHECK(numbers_of(early) == rounded);
      unpacked.clear();
      early.move_to(*network);
      CHECK(!early.device->is_packed());
      CHECK(numbers_of(early) == rounded);
    }
    wkv::cuda::simt::set_machine({});
  }

  TEST_CASE("as many sessions fit as a model says when it is there") {
    const RandomWeights random({}, 15);
    wkv::cuda::simt::set_machine({.memory = random.info.weight_bytes + (std::size_t{8} << 20)});
    {
      const auto network = on_gpu(random);
      const std::uint64_t fitting = network->info().sessions_that_fit.value();
      CHECK(fitting >= 16);
      std::vector<std::shared_ptr<wkv::DeviceNumbers>> sessions;
      while (sessions.size() < fitting) sessions.push_back(network->create_numbers());
      const wkv::Error error = wkv::test::refusal([&] { sessions.push_back(network->create_numbers()); });
      CHECK(error.code == "ERR_WKV_DEVICE");
      CHECK(error.message.find("not enough memory on the GPU while making room for a session") !=
            std::string::npos);
      sessions.pop_back();
      CHECK(network->create_numbers() != nullptr);
    }
    wkv::cuda::simt::set_machine({});
    CHECK(!on_cpu({}, 15)->info().sessions_that_fit.has_value());
  }

  TEST_CASE("a GPU that is lost fails the calls, and those after it") {
    const RandomWeights random({}, 14);
    Engine gpu(on_gpu(random), 1, 4);
    const auto before = evaluate(gpu, fresh_state(gpu.network()), {1});
    wkv::cuda::simt::set_machine({.lost_after = 0});
    for (const wkv::SessionState& state : {before->state, fresh_state(gpu.network())}) {
      const auto call = evaluate(gpu, state, {2});
      REQUIRE(call->error.has_value());
      CHECK(call->error->code == "ERR_WKV_DEVICE");
    }
    wkv::cuda::simt::set_machine({});
  }

  TEST_CASE("groups of any size, whole rows included") {
    const ModelShape shape{.layers = 1, .head_size = 20};
    for (const int group : {16, 48, 256}) {
      CAPTURE(group);
      const RandomWeights random(shape, 9, group);
      Engine gpu(on_gpu(random), 1, 4);
      Engine cpu(on_cpu(shape, 9, group), 1, 4);
      const Tokens tokens = random_tokens(10, 12, shape.vocabulary);
      const SessionState state = fresh_state(cpu.network());
      const auto actual = evaluate(gpu, state, tokens, Output::kAll);
      const auto expected = evaluate(cpu, state, tokens, Output::kAll);
      CHECK(wkv::test::bit_difference(actual->values, expected->values) == "");
      CHECK(wkv::test::bit_difference(numbers_of(actual->state), numbers_of(expected->state)) == "");
    }
  }

  TEST_CASE("weights that are not quantized are refused") {
    RandomWeights random({}, 11);
    random.weights.outer.head =
        wkv::Matrix(wkv::Precision::kF32, random.info.vocabulary, random.info.embedding);
    const wkv::Error error = wkv::test::refusal([&] { static_cast<void>(on_gpu(random)); });
    CHECK(error.code == "ERR_WKV_UNSUPPORTED");
    CHECK(error.message == "the CUDA backend takes weights in int8 or int4, not in f32");
  }
}
