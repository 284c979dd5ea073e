#include "backend/cuda/layers_kernel.h"

#include <array>
#include <vector>

namespace wkv::cuda {

namespace {

constexpr std::array<WkvCudaMatrixName, kRwkv5Matrices> kNames = {
    WKV_CUDA_ATT_RECEPTANCE, WKV_CUDA_ATT_KEY, WKV_CUDA_ATT_VALUE,      WKV_CUDA_ATT_GATE,
    WKV_CUDA_ATT_OUTPUT,     WKV_CUDA_FFN_KEY, WKV_CUDA_FFN_RECEPTANCE, WKV_CUDA_FFN_VALUE};

Rwkv5LayerWeights weights_of(const Weights& weights, int layer) {
  Rwkv5LayerWeights of{};
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    const WeightMatrix& matrix = weights.matrix(kNames[i], layer);
    of.panels[i] = matrix.panels.data();
    of.input_scales[i] = matrix.input_scales.data();
  }
  of.mixes[kAttReceptance] = weights.vector(WKV_CUDA_ATT_MIX_R, layer);
  of.mixes[kAttKey] = weights.vector(WKV_CUDA_ATT_MIX_K, layer);
  of.mixes[kAttValue] = weights.vector(WKV_CUDA_ATT_MIX_V, layer);
  of.mixes[kAttGate] = weights.vector(WKV_CUDA_ATT_MIX_G, layer);
  of.mixes[kFfnKey] = weights.vector(WKV_CUDA_FFN_MIX_K, layer);
  of.mixes[kFfnReceptance] = weights.vector(WKV_CUDA_FFN_MIX_R, layer);
  of.ln1 = weights.norm(WKV_CUDA_LN1_WEIGHT, layer);
  of.ln2 = weights.norm(WKV_CUDA_LN2_WEIGHT, layer);
  of.ln_x = weights.norm(WKV_CUDA_LN_X_WEIGHT, layer);
  of.forget = weights.vector(WKV_CUDA_ATT_DECAY, layer);
  of.u = weights.vector(WKV_CUDA_ATT_BONUS, layer);
  return of;
}

// Whether the matrices are of 8 bits, with the groups of the first layer's.
bool are_alike(const Weights& weights, int layers) {
  for (int layer = 0; layer < layers; ++layer) {
    for (const WkvCudaMatrixName name : kNames) {
      const WeightMatrix& matrix = weights.matrix(name, layer);
      if (matrix.bits != WeightBits::k8 || matrix.group != weights.matrix(name).group) return false;
    }
  }
  return true;
}

}  // namespace

LayersKernel::LayersKernel(LayersKind kind, const Call& call, const Stream& stream)
    : kind_(kind),
      r_(floats(1, attention_channels(call.shape))),
      k_(floats(1, attention_channels(call.shape))),
      v_(floats(1, attention_channels(call.shape))),
      g_(floats(1, attention_channels(call.shape))) {
  const LayerBuffers& b = call.b;
  const auto product = [&](Rwkv5Matrix matrix, const Quantized& input, const DeviceArray<float>& output,
                           Epilogue epilogue = Epilogue::kStore, const float* gate = nullptr) {
    QuantizedProduct& of = arguments_.products[matrix];
    of = call.product(kNames[matrix], 0, input, output, epilogue, gate).product;
    of.panels = nullptr;
  };
  product(kAttReceptance, b.mixed[0], r_);
  product(kAttKey, b.mixed[1], k_);
  product(kAttValue, b.mixed[2], v_);
  product(kAttGate, b.mixed[3], g_);
  product(kAttOutput, b.wide, b.x, Epilogue::kAdd);
  product(kFfnKey, b.mixed[0], b.hidden, Epilogue::kReluSquared);
  product(kFfnReceptance, b.mixed[1], b.gate);
  product(kFfnValue, b.wide, b.x, Epilogue::kAddGated, b.gate.data());
  if (!suits_rwkv5_layers(kind, arguments_.products, call.shape.layers)) return;
  std::vector<Rwkv5LayerWeights> layers;
  for (int layer = 0; layer < call.shape.layers; ++layer) layers.push_back(weights_of(call.weights, layer));
  layers_ = upload<Rwkv5LayerWeights>(layers.data(), layers.size(), stream, kMakingRoom);
  constexpr std::uint64_t kNobody = 0;
  arrived_ = upload<std::uint64_t>(&kNobody, 1, stream, kMakingRoom);
  arguments_.layers = layers_.data();
  arguments_.count = call.shape.layers;
  arguments_.segment = call.segments_of_step;
  arguments_.layer_numbers = layer_numbers(call.shape);
  arguments_.group_norm_epsilon = call.shape.group_norm_epsilon;
  arguments_.arrived = arrived_.data();
}

std::optional<LayersKernel> LayersKernel::of(LayersKind kind, const Call& call, const Stream& stream) {
  const WkvCudaShape& shape = call.shape;
  if (shape.architecture != WKV_CUDA_RWKV5 || shape.head_size != 64 ||
      !are_alike(call.weights, shape.layers)) {
    return std::nullopt;
  }
  LayersKernel kernel(kind, call, stream);
  if (kernel.layers_.data() == nullptr) return std::nullopt;
  return kernel;
}

void LayersKernel::put(const Call& call) const { rwkv5_layers(kind_, arguments_, call.stream); }

}  // namespace wkv::cuda
