#pragma once

#include <array>
#include <string>
#include <vector>

#include "backend/cuda/memory.h"
#include "kernels/gemm_int8/cuda.h"
#include "kernels/cuda/element.cuh"
#include "kernels/layer_norm/cuda.h"
#include "kernels/quantize/quantize.h"

namespace wkv::cuda {

struct WeightMatrix {
  WeightBits bits = WeightBits::k8;
  int rows = 0;
  int columns = 0;
  int group = 0;
  DeviceArray<unsigned char> panels;
  DeviceArray<float> input_scales;  // empty: all 1
};

// Of rows and columns that the caller has checked; arranged for products. Throws Failed, where it is the
// caller's mistake with this name.
WeightMatrix upload_matrix(const std::string& name, const WkvCudaMatrix& weights, const Stream& stream);

// In f32, f16 or bf16, in the panels of kernels/gemm.
struct LoraMatrix {
  int rows = 0;
  int columns = 0;
  ElementType type = ElementType::kF32;
  DeviceArray<unsigned char> panels;
};

// A model's tensors on the GPU. Throws Failed for what does not fit the shape.
class Weights {
 public:
  explicit Weights(const WkvCudaShape& shape);

  void put_vector(int vector, int layer, const float* numbers, std::uint64_t count, const Stream& stream);
  void put_matrix(int matrix, int layer, const WkvCudaMatrix& weights, const Stream& stream);
  void put_lora_matrix(int matrix, int layer, const WkvCudaLoraMatrix& weights, const Stream& stream);
  void put_embedding(int type, const void* numbers, std::uint64_t bytes, const Stream& stream);

  // Throws Failed unless everything has been put.
  void require_complete() const;

  const float* vector(WkvCudaVector name, int layer = 0) const;
  Norm norm(WkvCudaVector weight, int layer = 0) const {
    return {vector(weight, layer), vector(static_cast<WkvCudaVector>(weight + 1), layer)};
  }
  const WeightMatrix& matrix(WkvCudaMatrixName name, int layer = 0) const;
  const LoraMatrix& lora_matrix(WkvCudaLoraName name, int layer) const;
  const void* embedding() const { return embedding_.data(); }
  ElementType embedding_type() const { return embedding_type_; }

 private:
  struct Layer {
    std::array<DeviceArray<float>, WKV_CUDA_VECTORS> vectors;
    std::array<WeightMatrix, WKV_CUDA_MATRICES> matrices;
    std::array<LoraMatrix, WKV_CUDA_LORA_MATRICES> lora_matrices;
  };

  const Layer& layer_of(bool of_layer, int layer) const;

  WkvCudaShape shape_;
  std::vector<Layer> layers_;  // what is of no layer is in the first
  DeviceArray<unsigned char> embedding_;
  ElementType embedding_type_ = ElementType::kF32;
};

}  // namespace wkv::cuda
