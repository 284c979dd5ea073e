#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "backend/cuda/api.h"
#include "engine/channel_mixing.h"
#include "engine/cuda_network.h"
#include "engine/model_weights.h"

namespace wkv {

// What the library calls a model's tensors. They must outlive it.
class CudaTensors {
 public:
  struct Name {
    int name;
    int layer;
  };
  template <class Tensor>
  struct Named {
    const Tensor* tensor;
    Name name;
  };

  // The shape is that of `info`; the ranks of LoRA matrices, where there are some, are for the caller to
  // say. Adds what is before the layers and after them.
  CudaTensors(const ModelInfo& info, WkvCudaArchitecture architecture, const OuterWeights& outer);

  void add(WkvCudaMatrixName name, int layer, const Matrix& matrix);
  void add(WkvCudaVector name, int layer, const std::vector<float>& vector);
  void add(WkvCudaVector weight, int layer, const NormWeights& norm);
  // Its parts have the names from `first` on.
  void add(WkvCudaLoraName first, int layer, const LoraMatrix& matrix);
  // Both norms of a layer and its channel mixing.
  void add(int layer, const NormWeights& ln1, const NormWeights& ln2, const FeedForward& feed_forward);

  WkvCudaShape shape{};
  std::unordered_map<const Matrix*, Name> matrices;
  std::vector<Named<std::vector<float>>> vectors;
  std::vector<Named<LoraMatrix>> lora_matrices;
};

// The way of a model's weights to a GPU. Matrices are put one by one, in int8 or int4, and the rest at the
// end. All members throw ERR_WKV_DEVICE, or ERR_WKV_UNSUPPORTED for dimensions that kernels do not take and
// matrices that are kept in something else.
class CudaUpload final : public Uploader {
 public:
  // Refused if there is no room on the device for all of it.
  CudaUpload(const ModelInfo& info, CudaTensors tensors, float group_norm_epsilon, const WkvCudaApi& api,
             int device);

  void put(const Matrix& matrix) override;
  void put(const RowMatrix& embedding) override;

  // Puts the vectors and LoRA matrices. Once, when all matrices have been put.
  std::shared_ptr<const Network> finish(ModelInfo info, InitialState initial);

 private:
  const CudaTensors tensors_;
  const WkvCudaApi& api_;
  std::shared_ptr<WkvCudaModel> model_;
};

// Zeros and tuned recurrences, as initialize_state() has them.
InitialState tuned_state(std::vector<std::vector<float>> tuned, bool transposed);

}  // namespace wkv
