#pragma once

#include <memory>
#include <unordered_map>

#include "backend/cuda/api.h"
#include "engine/network.h"
#include "engine/rwkv5_weights.h"

namespace wkv {

// The way of an RWKV-5.2's weights to a GPU. Matrices are put one by one, in int8, and what is left of
// `weights` at the end; they must outlive it. All members throw ERR_WKV_DEVICE, or ERR_WKV_UNSUPPORTED for
// dimensions that kernels do not take and matrices that are kept in something else.
class CudaUpload final : public Uploader {
 public:
  // Refused if there is no room on the device for all of it.
  CudaUpload(const ModelInfo& info, const rwkv5::Weights& weights, float group_norm_epsilon,
             const WkvCudaApi& api, int device);

  void put(const Matrix& matrix) override;
  void put(const RowMatrix& embedding) override;

  // Puts the vectors. Once, when all matrices have been put.
  std::shared_ptr<const Network> finish(ModelInfo info);

 private:
  struct Name {
    int matrix;
    int layer;
  };

  void put_vector(int name, int layer, const std::vector<float>& numbers);
  void put_norm(int weight, int layer, const NormWeights& norm);

  const rwkv5::Weights& weights_;
  const WkvCudaApi& api_;
  const int device_;
  std::unordered_map<const Matrix*, Name> names_;
  std::shared_ptr<WkvCudaModel> model_;
};

}  // namespace wkv
