#include "backend/cuda/weights.h"

#include "backend/cuda/tensors.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm_int4/cuda.h"
#include "kernels/gemm_int4/gemm_int4.h"
#include "kernels/gemm_int8/gemm_int8.h"

namespace wkv::cuda {

namespace {

constexpr const char* kLoading = "loading weights";

void require_name(const char* what, int name, int count) {
  if (name < 0 || name >= count) refuse("there is no " + std::string(what) + " " + std::to_string(name));
}

void require_layer(int layer, bool of_layer, int layers) {
  if (layer < 0 || layer >= (of_layer ? layers : 1)) refuse("there is no layer " + std::to_string(layer));
}

[[noreturn]] void refuse_name(const char* what, int name, int layer) {
  refuse("such a model has no " + std::string(what) + " " + std::to_string(name) + " in layer " +
         std::to_string(layer));
}

void require_form(const std::string& name, const Form& form, int rows, int columns) {
  if (rows == form.rows && columns == form.columns) return;
  refuse(name + " is " + std::to_string(rows) + " x " + std::to_string(columns) + ", not " +
         std::to_string(form.rows) + " x " + std::to_string(form.columns));
}

void require_bytes(const std::string& name, std::uint64_t bytes, std::size_t expected) {
  if (bytes >= expected && bytes <= expected + 63) return;
  refuse(name + " has " + std::to_string(bytes) + " bytes, not " + std::to_string(expected));
}

std::size_t bytes_of_type(int type) {
  if (type < WKV_CUDA_F32 || type > WKV_CUDA_BF16) refuse("there is no type " + std::to_string(type));
  return type == WKV_CUDA_F32 ? 4 : 2;
}

}  // namespace

WeightMatrix upload_matrix(const std::string& name, const WkvCudaMatrix& weights, const Stream& stream) {
  if (weights.bits != 8 && weights.bits != 4) {
    refuse(name + " has " + std::to_string(weights.bits) + " bits a weight, expected 8 or 4");
  }
  const bool is_int4 = weights.bits == 4;
  const int most = is_int4 ? kMaxInt4Group : kMaxGroup;
  if (weights.group < kGroupStep || weights.group > most || weights.group % kGroupStep != 0) {
    refuse(name + " has groups of " + std::to_string(weights.group) + " columns, expected a multiple of " +
           std::to_string(kGroupStep) + " up to " + std::to_string(most));
  }
  const int padded = round_up(weights.columns, kGroupStep);
  const auto panels = static_cast<std::size_t>((weights.rows + kInt8PanelRows - 1) / kInt8PanelRows);
  const std::size_t bytes =
      panels * (is_int4 ? int4_panel_bytes(padded, weights.group) : int8_panel_bytes(padded, weights.group));
  require_bytes(name, weights.bytes, bytes);
  WeightMatrix put{.bits = is_int4 ? WeightBits::k4 : WeightBits::k8,
                   .rows = weights.rows,
                   .columns = weights.columns,
                   .group = weights.group,
                   .panels = upload<unsigned char>(weights.panels, bytes, stream, kLoading),
                   .input_scales = {}};
  if (weights.input_scales != nullptr) {
    put.input_scales =
        upload<float>(weights.input_scales, static_cast<std::size_t>(weights.columns), stream, kLoading);
  }
  if (is_int4) {
    arrange_panels(Int4Panels{put.panels.data(), put.rows, put.columns, put.group}, stream.get());
  } else {
    arrange_panels(Int8Panels{put.panels.data(), put.rows, put.columns, put.group}, stream.get());
  }
  check(cudaGetLastError(), kLoading);
  return put;
}

Weights::Weights(const WkvCudaShape& shape)
    : shape_(shape), layers_(static_cast<std::size_t>(shape.layers)) {}

const Weights::Layer& Weights::layer_of(bool of_layer, int layer) const {
  return layers_[of_layer ? static_cast<std::size_t>(layer) : 0];
}

const float* Weights::vector(WkvCudaVector name, int layer) const {
  return layer_of(is_of_layer(name), layer).vectors[static_cast<std::size_t>(name)].data();
}

const WeightMatrix& Weights::matrix(WkvCudaMatrixName name, int layer) const {
  return layer_of(is_of_layer(name), layer).matrices[static_cast<std::size_t>(name)];
}

const LoraMatrix& Weights::lora_matrix(WkvCudaLoraName name, int layer) const {
  return layers_[static_cast<std::size_t>(layer)].lora_matrices[static_cast<std::size_t>(name)];
}

void Weights::put_vector(int vector, int layer, const float* numbers, std::uint64_t count,
                         const Stream& stream) {
  require_name("vector", vector, WKV_CUDA_VECTORS);
  const auto name = static_cast<WkvCudaVector>(vector);
  require_layer(layer, is_of_layer(name), shape_.layers);
  const int expected = numbers_of(shape_, name, layer);
  if (expected == 0) refuse_name("vector", vector, layer);
  if (count != static_cast<std::uint64_t>(expected)) {
    refuse("the vector " + std::to_string(vector) + " has " + std::to_string(count) + " numbers, not " +
           std::to_string(expected));
  }
  layers_[static_cast<std::size_t>(layer)].vectors[static_cast<std::size_t>(vector)] =
      upload<float>(numbers, count, stream, kLoading);
}

void Weights::put_matrix(int matrix, int layer, const WkvCudaMatrix& weights, const Stream& stream) {
  require_name("matrix", matrix, WKV_CUDA_MATRICES);
  require_layer(layer, is_of_layer(static_cast<WkvCudaMatrixName>(matrix)), shape_.layers);
  const Form form = form_of(shape_, static_cast<WkvCudaMatrixName>(matrix));
  if (!form.exists()) refuse_name("matrix", matrix, layer);
  const std::string name = "the matrix " + std::to_string(matrix);
  require_form(name, form, weights.rows, weights.columns);
  layers_[static_cast<std::size_t>(layer)].matrices[static_cast<std::size_t>(matrix)] =
      upload_matrix(name, weights, stream);
}

void Weights::put_lora_matrix(int matrix, int layer, const WkvCudaLoraMatrix& weights, const Stream& stream) {
  require_name("LoRA matrix", matrix, WKV_CUDA_LORA_MATRICES);
  require_layer(layer, true, shape_.layers);
  const Form form = form_of(shape_, static_cast<WkvCudaLoraName>(matrix), layer);
  if (!form.exists()) refuse_name("LoRA matrix", matrix, layer);
  const std::string name = "the LoRA matrix " + std::to_string(matrix);
  require_form(name, form, weights.rows, weights.columns);
  const auto elements = std::int64_t{round_up(form.rows, kPanelRows)} * round_up(form.columns, kPanelColumns);
  const std::size_t bytes = static_cast<std::size_t>(elements) * bytes_of_type(weights.type);
  require_bytes(name, weights.bytes, bytes);
  layers_[static_cast<std::size_t>(layer)].lora_matrices[static_cast<std::size_t>(matrix)] = {
      .rows = form.rows,
      .columns = form.columns,
      .type = static_cast<ElementType>(weights.type),
      .panels = upload<unsigned char>(weights.panels, bytes, stream, kLoading)};
}

void Weights::put_embedding(int type, const void* numbers, std::uint64_t bytes, const Stream& stream) {
  const std::uint64_t expected = static_cast<std::uint64_t>(shape_.vocabulary) *
                                 static_cast<std::uint64_t>(shape_.channels) * bytes_of_type(type);
  if (bytes != expected) {
    refuse("the embedding has " + std::to_string(bytes) + " bytes, not " + std::to_string(expected));
  }
  embedding_ = upload<unsigned char>(numbers, bytes, stream, kLoading);
  embedding_type_ = static_cast<ElementType>(type);
}

void Weights::require_complete() const {
  if (embedding_.data() == nullptr) refuse("the model has no embedding yet");
  for (int layer = 0; layer < shape_.layers; ++layer) {
    const auto require = [layer](bool there, const char* what, int name) {
      if (there) return;
      refuse("the model has no " + std::string(what) + " " + std::to_string(name) + " of layer " +
             std::to_string(layer) + " yet");
    };
    for (int i = layer == 0 ? 0 : WKV_CUDA_LN1_WEIGHT; i < WKV_CUDA_VECTORS; ++i) {
      const auto name = static_cast<WkvCudaVector>(i);
      require(numbers_of(shape_, name, layer) == 0 || vector(name, layer) != nullptr, "vector", i);
    }
    for (int i = layer == 0 ? 0 : WKV_CUDA_ATT_RECEPTANCE; i < WKV_CUDA_MATRICES; ++i) {
      const auto name = static_cast<WkvCudaMatrixName>(i);
      require(!form_of(shape_, name).exists() || matrix(name, layer).panels.data() != nullptr, "matrix", i);
    }
    for (int i = 0; i < WKV_CUDA_LORA_MATRICES; ++i) {
      const auto name = static_cast<WkvCudaLoraName>(i);
      require(!form_of(shape_, name, layer).exists() || lora_matrix(name, layer).panels.data() != nullptr,
              "LoRA matrix", i);
    }
  }
}

}  // namespace wkv::cuda
