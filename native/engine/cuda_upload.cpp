#include "engine/cuda_upload.h"

#include <utility>

#include "engine/cuda_library.h"
#include "engine/wkv5_mixing.h"

namespace wkv {

namespace {

std::int32_t type_of(StoredType type) {
  return type == StoredType::kF32 ? WKV_CUDA_F32 : type == StoredType::kF16 ? WKV_CUDA_F16 : WKV_CUDA_BF16;
}

}  // namespace

CudaTensors::CudaTensors(const ModelInfo& info, WkvCudaArchitecture architecture, const OuterWeights& outer) {
  shape.architecture = architecture;
  shape.layers = info.layers;
  shape.channels = info.embedding;
  shape.heads = info.heads;
  shape.head_size = info.head_size;
  shape.feed_forward = info.feed_forward;
  shape.vocabulary = info.vocabulary;
  shape.max_tokens = kMaxTokensOnCuda;
  shape.max_segments = kMaxTokensOnCuda;
  add(WKV_CUDA_HEAD, 0, outer.head);
  add(WKV_CUDA_LN0_WEIGHT, 0, outer.ln0);
  add(WKV_CUDA_LN_OUT_WEIGHT, 0, outer.ln_out);
}

void CudaTensors::add(WkvCudaMatrixName name, int layer, const Matrix& matrix) {
  matrices[&matrix] = {name, layer};
}

void CudaTensors::add(WkvCudaVector name, int layer, const std::vector<float>& vector) {
  vectors.push_back({&vector, {name, layer}});
}

void CudaTensors::add(WkvCudaVector weight, int layer, const NormWeights& norm) {
  vectors.push_back({&norm.weight, {weight, layer}});
  vectors.push_back({&norm.bias, {weight + 1, layer}});
}

void CudaTensors::add(WkvCudaLoraName first, int layer, const LoraMatrix& matrix) {
  lora_matrices.push_back({&matrix, {first, layer}});
}

void CudaTensors::add(int layer, const NormWeights& ln1, const NormWeights& ln2,
                      const FeedForward& feed_forward) {
  add(WKV_CUDA_LN1_WEIGHT, layer, ln1);
  add(WKV_CUDA_LN2_WEIGHT, layer, ln2);
  add(WKV_CUDA_FFN_MIX_K, layer, feed_forward.mix_k);
  add(WKV_CUDA_FFN_KEY, layer, feed_forward.key);
  add(WKV_CUDA_FFN_VALUE, layer, feed_forward.value);
  if (shape.architecture == WKV_CUDA_RWKV7) return;
  add(WKV_CUDA_FFN_MIX_R, layer, feed_forward.mix_r);
  add(WKV_CUDA_FFN_RECEPTANCE, layer, feed_forward.receptance);
}

CudaUpload::CudaUpload(const ModelInfo& info, CudaTensors tensors, float group_norm_epsilon,
                       const WkvCudaApi& api, int device)
    : tensors_(std::move(tensors)), api_(api) {
  WkvCudaShape shape = tensors_.shape;
  shape.group_norm_epsilon = group_norm_epsilon;
  WkvCudaModel* created = nullptr;
  WkvCudaFailure failure{};
  check(api.create_model(device, &shape, info.weight_bytes, &created, &failure), failure);
  model_ = std::shared_ptr<WkvCudaModel>(created, api.destroy_model);
}

void CudaUpload::put(const Matrix& matrix) {
  require_quantized(matrix.precision);
  const CudaTensors::Name& name = tensors_.matrices.at(&matrix);
  const WkvCudaMatrix panels{
      .panels = matrix.data.data(),
      .bytes = matrix.size_in_bytes(),
      .bits = matrix.precision == Precision::kInt4 ? 4 : 8,
      .rows = matrix.rows,
      .columns = matrix.columns,
      .group = matrix.group,
      .input_scales = matrix.input_scales.empty() ? nullptr : matrix.input_scales.data(),
  };
  WkvCudaFailure failure{};
  check(api_.put_matrix(model_.get(), name.name, name.layer, &panels, &failure), failure);
}

void CudaUpload::put(const RowMatrix& embedding) {
  WkvCudaFailure failure{};
  check(api_.put_embedding(model_.get(), type_of(embedding.type), embedding.data.data(),
                           embedding.data.size(), &failure),
        failure);
}

InitialState tuned_state(std::vector<std::vector<float>> tuned, bool transposed) {
  return [tuned = std::move(tuned), transposed](const ModelInfo& info, float* state) {
    initialize_state(info, tuned, transposed, state);
  };
}

std::shared_ptr<const Network> CudaUpload::finish(ModelInfo info, InitialState initial) {
  WkvCudaFailure failure{};
  for (const auto& [vector, name] : tensors_.vectors) {
    check(api_.put_vector(model_.get(), name.name, name.layer, vector->data(), vector->size(), &failure),
          failure);
  }
  for (const auto& [lora, name] : tensors_.lora_matrices) {
    int part_name = name.name;
    for (const Matrix& part : lora->parts) {
      const WkvCudaLoraMatrix panels{
          .panels = part.data.data(),
          .bytes = part.size_in_bytes(),
          .type = type_of(stored_type_of(part.precision)),
          .rows = part.rows,
          .columns = part.columns,
      };
      check(api_.put_lora_matrix(model_.get(), part_name++, name.layer, &panels, &failure), failure);
    }
  }
  std::uint64_t fitting = 0;
  check(api_.pages_that_fit(model_.get(), &fitting, &failure), failure);
  info.sessions_that_fit = fitting;
  return make_cuda_network(std::move(info), std::move(model_), std::move(initial), api_);
}

}  // namespace wkv
