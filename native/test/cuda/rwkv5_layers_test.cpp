// All layers in one kernel, against the kernels that do the same one after another.

#include <doctest/doctest.h>

#include <cmath>
#include <deque>
#include <string>

#include "kernels/gated_norm/cuda.h"
#include "kernels/gemm_int8/gemm_int8.h"
#include "kernels/quantize/cuda.h"
#include "kernels/rwkv5_layers/cuda.h"
#include "kernels/token_shift/cuda.h"
#include "kernels/wkv5/cuda.h"
#include "test/cuda/on_device.h"
#include "test/support/numbers.h"

using wkv::cuda::Epilogue;
using wkv::cuda::LayersKind;
using wkv::cuda::Norm;
using wkv::cuda::QuantizedProduct;
using wkv::cuda::QuantizedTokens;
using wkv::cuda::Rwkv5LayerWeights;
using wkv::cuda::Segment;
using wkv::test::Floats;
using wkv::test::OnDevice;

namespace {

constexpr int kHeadSize = 64;
constexpr float kEpsilon = 64e-5F;

struct Form {
  int layers;
  int channels;
  int attention;
  int feed_forward;
  int group;        // of all matrices but
  int group_after;  // those after the recurrence and the hidden channels
};

// A model with random weights, a session, and the buffers of a token.
class Model {
 public:
  explicit Model(const Form& form) : form_(form), random_(static_cast<unsigned>(form.channels + form.group)) {
    for (int i = 0; i < form.layers; ++i) layers_.push_back(layer());
    on_device_ = std::make_unique<OnDevice<Rwkv5LayerWeights>>(layers_);
    const int layer_numbers = 2 * form.channels + form.attention * kHeadSize;
    state_ = wkv::test::random_floats(random_, static_cast<std::size_t>(form.layers * layer_numbers), -2, 2);
    for (QuantizedTokens& mixed : mixed_) mixed = quantized(form.channels, form.group);
    hidden_ = quantized(form.feed_forward, form.group_after);
    attended_ = quantized(form.attention, form.group_after);
    together_.layers = on_device_->data();
    together_.count = form.layers;
    together_.layer_numbers = layer_numbers;
    together_.group_norm_epsilon = kEpsilon;
    const auto product = [&](wkv::cuda::Rwkv5Matrix matrix, int rows, const QuantizedTokens& x, float* output,
                             Epilogue epilogue = Epilogue::kStore, const float* gate = nullptr) {
      together_.products[matrix] = {nullptr, x, output, gate, rows, epilogue};
    };
    float* const x = x_.data();
    product(wkv::cuda::kAttReceptance, form.attention, mixed_[0], room(form.attention));
    product(wkv::cuda::kAttKey, form.attention, mixed_[1], room(form.attention));
    product(wkv::cuda::kAttValue, form.attention, mixed_[2], room(form.attention));
    product(wkv::cuda::kAttGate, form.attention, mixed_[3], room(form.attention));
    product(wkv::cuda::kAttOutput, form.channels, attended_, x, Epilogue::kAdd);
    product(wkv::cuda::kFfnKey, form.feed_forward, mixed_[0], room(form.feed_forward),
            Epilogue::kReluSquared);
    float* const gate = room(form.channels);
    product(wkv::cuda::kFfnReceptance, form.channels, mixed_[1], gate);
    product(wkv::cuda::kFfnValue, form.channels, hidden_, x, Epilogue::kAddGated, gate);
  }

  bool suits(LayersKind kind) const {
    return wkv::cuda::suits_rwkv5_layers(kind, together_.products, form_.layers);
  }

  struct Result {
    Floats x, state;
  };
  // Some tokens one after another, each beginning with an x of its own, by the kernel or, without, by those
  // that do the same.
  Result run(int tokens, LayersKind kind) {
    std::mt19937 random(9);
    OnDevice<float> state(state_);
    OnDevice<Segment> segment(std::vector<Segment>{{state.data(), 0, 1}});
    OnDevice<int> segment_of(std::vector<int>{0});
    Result result;
    for (int token = 0; token < tokens; ++token) {
      const Floats begin = wkv::test::random_floats(random, static_cast<std::size_t>(form_.channels), -3, 3);
      std::copy(begin.begin(), begin.end(), x_.data());
      if (kind != LayersKind::kNone) {
        together_.segment = segment.data();
        together_.arrived = arrived_.data();
        wkv::cuda::rwkv5_layers(kind, together_, nullptr);
      } else {
        for (int i = 0; i < form_.layers; ++i) put_layer(i, segment.data(), segment_of.data());
      }
      const Floats x = x_.values();
      result.x.insert(result.x.end(), x.begin(), x.end());
    }
    result.state = state.values();
    return result;
  }

 private:
  const float* numbers(int count, float low, float high) {
    kept_.emplace_back(wkv::test::random_floats(random_, static_cast<std::size_t>(count), low, high));
    return kept_.back().data();
  }
  float* room(int count) { return kept_.emplace_back(static_cast<std::size_t>(count)).data(); }
  Norm norm(int count) { return {numbers(count, 0.5F, 2), numbers(count, -1, 1)}; }
  QuantizedTokens quantized(int columns, int group) {
    codes_.emplace_back(static_cast<std::size_t>(wkv::cuda::kTokenStep * columns));
    return {codes_.back().data(), room(wkv::cuda::kTokenStep * columns / group), wkv::cuda::kTokenStep,
            columns, group};
  }

  const unsigned char* panels(int rows, int columns, int group) {
    std::uniform_int_distribution<int> code(1, 255);
    // So that products are of about the size of their inputs.
    const float scale = 1.0F / (70 * std::sqrt(static_cast<float>(columns)));
    std::vector<unsigned char> bytes;
    for (int panel = 0; panel * wkv::kInt8PanelRows < rows; ++panel) {
      for (int first = 0; first < columns; first += group) {
        for (int i = 0; i < group * wkv::kInt8PanelRows; ++i) {
          bytes.push_back(static_cast<unsigned char>(code(random_)));
        }
        for (const float each : wkv::test::random_floats(random_, wkv::kInt8PanelRows, scale / 2, scale)) {
          const auto* const own = reinterpret_cast<const unsigned char*>(&each);
          bytes.insert(bytes.end(), own, own + sizeof each);
        }
      }
    }
    panels_.emplace_back(bytes);
    wkv::cuda::arrange_panels({panels_.back().data(), rows, columns, group}, nullptr);
    return panels_.back().data();
  }

  Rwkv5LayerWeights layer() {
    const auto& [layers, channels, attention, feed_forward, group, group_after] = form_;
    Rwkv5LayerWeights layer{};
    const auto matrix = [&](wkv::cuda::Rwkv5Matrix name, int rows, int columns, int of_group) {
      layer.panels[name] = panels(rows, columns, of_group);
      // Some have none.
      layer.input_scales[name] = name % 3 == 1 ? nullptr : numbers(columns, 0.5F, 2);
      if (columns == channels) layer.mixes[name] = numbers(columns, 0, 1);
    };
    for (const auto name :
         {wkv::cuda::kAttReceptance, wkv::cuda::kAttKey, wkv::cuda::kAttValue, wkv::cuda::kAttGate}) {
      matrix(name, attention, channels, group);
    }
    matrix(wkv::cuda::kAttOutput, channels, attention, group_after);
    matrix(wkv::cuda::kFfnKey, feed_forward, channels, group);
    matrix(wkv::cuda::kFfnReceptance, channels, channels, group);
    matrix(wkv::cuda::kFfnValue, channels, feed_forward, group_after);
    layer.ln1 = norm(channels);
    layer.ln2 = norm(channels);
    layer.ln_x = norm(attention);
    layer.forget = numbers(attention, 0, 1);
    layer.u = numbers(attention, -1, 1);
    return layer;
  }

  QuantizedProduct product(int layer, wkv::cuda::Rwkv5Matrix name) const {
    QuantizedProduct product = together_.products[name];
    product.panels = layers_[static_cast<std::size_t>(layer)].panels[name];
    return product;
  }

  void shift(int layer, const Segment* segment, const int* segment_of, const Norm& norm,
             std::ptrdiff_t state_offset, std::initializer_list<wkv::cuda::Rwkv5Matrix> names) {
    const Rwkv5LayerWeights& weights = layers_[static_cast<std::size_t>(layer)];
    wkv::cuda::ShiftQuantizeArguments arguments{};
    arguments.x = x_.data();
    arguments.segments = segment;
    arguments.segment_count = 1;
    arguments.segment_of = segment_of;
    arguments.state_offset = state_offset;
    arguments.norm = norm;
    arguments.tokens = 1;
    arguments.channels = form_.channels;
    for (const auto name : names) {
      arguments.mixes[arguments.count++] = {weights.mixes[name], weights.input_scales[name],
                                            together_.products[name].x};
    }
    wkv::cuda::shift_quantize(arguments, nullptr);
  }

  void put_layer(int layer, const Segment* segment, const int* segment_of) {
    const Rwkv5LayerWeights& weights = layers_[static_cast<std::size_t>(layer)];
    const auto& all = together_.products;
    const std::ptrdiff_t of_layer = layer * together_.layer_numbers;
    shift(layer, segment, segment_of, weights.ln1, of_layer,
          {wkv::cuda::kAttReceptance, wkv::cuda::kAttKey, wkv::cuda::kAttValue, wkv::cuda::kAttGate});
    wkv::cuda::gemm_int8({{product(layer, wkv::cuda::kAttReceptance), product(layer, wkv::cuda::kAttKey),
                           product(layer, wkv::cuda::kAttValue), product(layer, wkv::cuda::kAttGate)},
                          4,
                          1},
                         nullptr);
    OnDevice<float> y(static_cast<std::size_t>(form_.attention));
    wkv::cuda::wkv5({.r = all[wkv::cuda::kAttReceptance].output,
                     .k = all[wkv::cuda::kAttKey].output,
                     .v = all[wkv::cuda::kAttValue].output,
                     .y = y.data(),
                     .forget = weights.forget,
                     .u = weights.u,
                     .segments = segment,
                     .state_offset = of_layer + 2 * form_.channels,
                     .count = 1,
                     .tokens = 1,
                     .heads = form_.attention / kHeadSize,
                     .head_size = kHeadSize},
                    nullptr);
    wkv::cuda::gated_norm({.y = y.data(),
                           .g = all[wkv::cuda::kAttGate].output,
                           .norm = weights.ln_x,
                           .epsilon = kEpsilon,
                           .input_scales = weights.input_scales[wkv::cuda::kAttOutput],
                           .out = all[wkv::cuda::kAttOutput].x,
                           .tokens = 1,
                           .head_size = kHeadSize},
                          nullptr);
    wkv::cuda::gemm_int8({{product(layer, wkv::cuda::kAttOutput)}, 1, 1}, nullptr);
    shift(layer, segment, segment_of, weights.ln2, of_layer + form_.channels,
          {wkv::cuda::kFfnKey, wkv::cuda::kFfnReceptance});
    wkv::cuda::gemm_int8(
        {{product(layer, wkv::cuda::kFfnKey), product(layer, wkv::cuda::kFfnReceptance)}, 2, 1}, nullptr);
    wkv::cuda::quantize({all[wkv::cuda::kFfnKey].output, weights.input_scales[wkv::cuda::kFfnValue],
                         all[wkv::cuda::kFfnValue].x, 1},
                        nullptr);
    wkv::cuda::gemm_int8({{product(layer, wkv::cuda::kFfnValue)}, 1, 1}, nullptr);
  }

  Form form_;
  std::mt19937 random_;
  std::deque<OnDevice<float>> kept_;
  std::deque<OnDevice<std::int8_t>> codes_;
  std::deque<OnDevice<unsigned char>> panels_;
  std::vector<Rwkv5LayerWeights> layers_;
  std::unique_ptr<OnDevice<Rwkv5LayerWeights>> on_device_;
  Floats state_;
  OnDevice<float> x_{static_cast<std::size_t>(form_.channels)};
  OnDevice<std::uint64_t> arrived_{std::vector<std::uint64_t>{0}};
  QuantizedTokens mixed_[4], hidden_, attended_;
  wkv::cuda::Rwkv5LayersArguments together_{};
};

}  // namespace

TEST_SUITE("CUDA all layers of RWKV-5") {
  TEST_CASE("have the bits of the kernels one after another, in every order of threads and blocks") {
    wkv::cuda::simt::set_architecture(90);
    // Of the first, some warps have no group, and blocks no span; of the second, blocks have different
    // numbers of panels, and warps of groups. In the third, what blocks do by spans keeps all of them busy.
    for (const Form& form : {Form{3, 256, 256, 256, 256, 256}, Form{2, 512, 256, 2304 + 256, 128, 128},
                             Form{1, 1024, 1024, 1280, 256, 64}}) {
      CAPTURE(form.channels);
      Model model(form);
      const int tokens = form.channels == 1024 ? 1 : 2;
      const Model::Result expected = model.run(tokens, LayersKind::kNone);
      for (const float x : expected.x) REQUIRE(std::isfinite(x));
      for (const LayersKind kind : {LayersKind::kLanes, LayersKind::kBulk}) {
        const bool by_bulk = kind == LayersKind::kBulk;
        CAPTURE(by_bulk);
        REQUIRE(model.suits(kind));
        wkv::test::in_every_order([&](const std::string& order) {
          CAPTURE(order);
          const Model::Result actual = model.run(tokens, kind);
          CHECK(wkv::test::bit_difference(actual.x, expected.x) == "");
          CHECK(wkv::test::bit_difference(actual.state, expected.state) == "");
        });
      }
    }
  }

  TEST_CASE("do not suit every model, nor every GPU") {
    for (const LayersKind kind : {LayersKind::kLanes, LayersKind::kBulk}) {
      wkv::cuda::simt::set_architecture(90);
      CHECK(Model({1, 256, 256, 512, 64, 32}).suits(kind));
      CHECK_FALSE(Model({1, 256, 256, 512, 16, 32}).suits(kind));    // stages are of 32 columns
      CHECK_FALSE(Model({1, 256, 256, 512, 256, 512}).suits(kind));  // groups beyond spans
      CHECK_FALSE(Model({1, 256, 192, 512, 64, 64}).suits(kind));    // half of a span
      CHECK_FALSE(Model({1, 256, 256, 4352, 64, 64}).suits(kind));   // too many groups
      CHECK_FALSE(Model({1, 1280, 256, 256, 64, 64}).suits(kind));   // more spans than blocks
      wkv::cuda::simt::set_architecture(80);
      CHECK_FALSE(Model({1, 256, 256, 512, 64, 64}).suits(kind));  // too little shared memory
    }
    wkv::cuda::simt::set_architecture(90);
    CHECK_FALSE(Model({1, 256, 256, 512, 64, 64}).suits(LayersKind::kNone));
  }
}
