#include "engine/cuda_upload.h"

#include <utility>

#include "engine/cuda_library.h"
#include "engine/rwkv5_cuda.h"

namespace wkv {

using rwkv5::Attention;
using rwkv5::Layer;

CudaUpload::CudaUpload(const ModelInfo& info, const rwkv5::Weights& weights, float group_norm_epsilon,
                       const WkvCudaApi& api, int device)
    : weights_(weights), api_(api), device_(device) {
  names_ = {{&weights.outer.head, {WKV_CUDA_HEAD, 0}}};
  int index = 0;
  for (const Layer& layer : weights.layers) {
    const Attention& att = layer.attention;
    names_[&att.receptance] = {WKV_CUDA_ATT_RECEPTANCE, index};
    names_[&att.key] = {WKV_CUDA_ATT_KEY, index};
    names_[&att.value] = {WKV_CUDA_ATT_VALUE, index};
    names_[&att.gate] = {WKV_CUDA_ATT_GATE, index};
    names_[&att.output] = {WKV_CUDA_ATT_OUTPUT, index};
    names_[&layer.feed_forward.key] = {WKV_CUDA_FFN_KEY, index};
    names_[&layer.feed_forward.receptance] = {WKV_CUDA_FFN_RECEPTANCE, index};
    names_[&layer.feed_forward.value] = {WKV_CUDA_FFN_VALUE, index};
    ++index;
  }
  const WkvCudaShape shape{
      .layers = info.layers,
      .channels = info.embedding,
      .heads = info.heads,
      .head_size = info.head_size,
      .feed_forward = info.feed_forward,
      .vocabulary = info.vocabulary,
      .most_tokens = kMostTokensOnCuda,
      .most_segments = kMostTokensOnCuda,
      .group_norm_epsilon = group_norm_epsilon,
  };
  WkvCudaModel* created = nullptr;
  WkvCudaFailure failure{};
  check(api.create_model(device, &shape, info.weight_bytes, &created, &failure), failure);
  model_ = std::shared_ptr<WkvCudaModel>(created, api.destroy_model);
}

void CudaUpload::put(const Matrix& matrix) {
  require_int8(matrix.precision);
  const Name& name = names_.at(&matrix);
  const WkvCudaMatrix panels{
      .panels = matrix.data.data(),
      .bytes = matrix.size_in_bytes(),
      .rows = matrix.rows,
      .columns = matrix.columns,
      .group = matrix.group,
      .input_scales = matrix.input_scales.empty() ? nullptr : matrix.input_scales.data(),
  };
  WkvCudaFailure failure{};
  check(api_.put_matrix(model_.get(), name.matrix, name.layer, &panels, &failure), failure);
}

void CudaUpload::put(const RowMatrix& embedding) {
  const int type = embedding.type == StoredType::kF32   ? WKV_CUDA_F32
                   : embedding.type == StoredType::kF16 ? WKV_CUDA_F16
                                                        : WKV_CUDA_BF16;
  WkvCudaFailure failure{};
  check(api_.put_embedding(model_.get(), type, embedding.data.data(), embedding.data.size(), &failure),
        failure);
}

void CudaUpload::put_vector(int name, int layer, const std::vector<float>& numbers) {
  WkvCudaFailure failure{};
  check(api_.put_vector(model_.get(), name, layer, numbers.data(), numbers.size(), &failure), failure);
}

void CudaUpload::put_norm(int weight, int layer, const NormWeights& norm) {
  put_vector(weight, layer, norm.weight);
  put_vector(weight + 1, layer, norm.bias);
}

std::shared_ptr<const Network> CudaUpload::finish(ModelInfo info) {
  put_norm(WKV_CUDA_LN0_WEIGHT, 0, weights_.outer.ln0);
  put_norm(WKV_CUDA_LN_OUT_WEIGHT, 0, weights_.outer.ln_out);
  std::vector<std::vector<float>> tuned;
  int index = 0;
  for (const Layer& layer : weights_.layers) {
    const Attention& att = layer.attention;
    put_norm(WKV_CUDA_LN1_WEIGHT, index, layer.ln1);
    put_norm(WKV_CUDA_LN2_WEIGHT, index, layer.ln2);
    put_vector(WKV_CUDA_ATT_MIX_K, index, att.mix_k);
    put_vector(WKV_CUDA_ATT_MIX_V, index, att.mix_v);
    put_vector(WKV_CUDA_ATT_MIX_R, index, att.mix_r);
    put_vector(WKV_CUDA_ATT_MIX_G, index, att.mix_g);
    put_vector(WKV_CUDA_FFN_MIX_K, index, layer.feed_forward.mix_k);
    put_vector(WKV_CUDA_FFN_MIX_R, index, layer.feed_forward.mix_r);
    put_vector(WKV_CUDA_ATT_FORGET, index, att.forget);
    put_vector(WKV_CUDA_ATT_BONUS, index, att.bonus);
    put_norm(WKV_CUDA_LN_X_WEIGHT, index, att.ln_x);
    tuned.push_back(att.tuned);
    ++index;
  }
  info.sessions_that_fit = describe_device(api_, device_).free_memory / api_.page_bytes(model_.get());
  return make_cuda_network(std::move(info), std::move(model_), std::move(tuned), api_);
}

}  // namespace wkv
