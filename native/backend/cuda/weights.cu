#include "backend/cuda/weights.h"

#include "kernels/gemm_int8/gemm_int8.h"

namespace wkv::cuda {

namespace {

[[noreturn]] void refuse(const std::string& text) { throw Failed{WKV_CUDA_ARGUMENT, text}; }

template <class Element>
DeviceArray<Element> upload(const void* from, std::size_t count, const Stream& stream) {
  constexpr const char* kDoing = "loading weights";
  DeviceArray<Element> array(count, kDoing);
  check(cudaMemcpyAsync(array.data(), from, count * sizeof(Element), cudaMemcpyHostToDevice, stream.get()),
        kDoing);
  // The caller may let go of it.
  stream.wait(kDoing);
  return array;
}

struct Form {
  int rows;
  int columns;
};

Form form_of(const WkvCudaShape& shape, int matrix) {
  const int attention = shape.heads * shape.head_size;
  switch (matrix) {
    case WKV_CUDA_HEAD:
      return {shape.vocabulary, shape.channels};
    case WKV_CUDA_ATT_OUTPUT:
      return {shape.channels, attention};
    case WKV_CUDA_FFN_KEY:
      return {shape.feed_forward, shape.channels};
    case WKV_CUDA_FFN_RECEPTANCE:
      return {shape.channels, shape.channels};
    case WKV_CUDA_FFN_VALUE:
      return {shape.channels, shape.feed_forward};
    default:
      return {attention, shape.channels};
  }
}

bool is_of_layer(WkvCudaVector vector) { return vector >= WKV_CUDA_LN1_WEIGHT; }

void require_layer(int layer, bool of_layer, int layers) {
  if (layer < 0 || layer >= (of_layer ? layers : 1)) refuse("there is no layer " + std::to_string(layer));
}

}  // namespace

Weights::Weights(const WkvCudaShape& shape)
    : shape_(shape), layers_(static_cast<std::size_t>(shape.layers)) {}

const Weights::Layer& Weights::layer_of(bool of_layer, int layer) const {
  return layers_[of_layer ? static_cast<std::size_t>(layer) : 0];
}

const float* Weights::vector(WkvCudaVector name, int layer) const {
  return layer_of(is_of_layer(name), layer).vectors[static_cast<std::size_t>(name)].data();
}

const WeightMatrix& Weights::matrix(WkvCudaMatrixName name, int layer) const {
  return layer_of(name != WKV_CUDA_HEAD, layer).matrices[static_cast<std::size_t>(name)];
}

void Weights::put_vector(int vector, int layer, const float* numbers, std::uint64_t count,
                         const Stream& stream) {
  if (vector < 0 || vector >= WKV_CUDA_VECTORS) refuse("there is no vector " + std::to_string(vector));
  require_layer(layer, is_of_layer(static_cast<WkvCudaVector>(vector)), shape_.layers);
  const int expected = vector >= WKV_CUDA_ATT_FORGET ? shape_.heads * shape_.head_size : shape_.channels;
  if (count != static_cast<std::uint64_t>(expected)) {
    refuse("the vector " + std::to_string(vector) + " has " + std::to_string(count) + " numbers, not " +
           std::to_string(expected));
  }
  layers_[static_cast<std::size_t>(layer)].vectors[static_cast<std::size_t>(vector)] =
      upload<float>(numbers, count, stream);
}

void Weights::put_matrix(int matrix, int layer, const WkvCudaMatrix& weights, const Stream& stream) {
  if (matrix < 0 || matrix >= WKV_CUDA_MATRICES) refuse("there is no matrix " + std::to_string(matrix));
  require_layer(layer, matrix != WKV_CUDA_HEAD, shape_.layers);
  const Form form = form_of(shape_, matrix);
  const std::string name = "the matrix " + std::to_string(matrix);
  if (weights.rows != form.rows || weights.columns != form.columns) {
    refuse(name + " is " + std::to_string(weights.rows) + " x " + std::to_string(weights.columns) + ", not " +
           std::to_string(form.rows) + " x " + std::to_string(form.columns));
  }
  if (weights.group < kGroupStep || weights.group > kMostGroup || weights.group % kGroupStep != 0) {
    refuse(name + " has groups of " + std::to_string(weights.group) + " columns");
  }
  const int padded = (form.columns + kGroupStep - 1) / kGroupStep * kGroupStep;
  const auto panels = static_cast<std::size_t>((form.rows + kInt8PanelRows - 1) / kInt8PanelRows);
  const std::size_t bytes = panels * int8_panel_bytes(padded, weights.group);
  if (weights.bytes < bytes || weights.bytes > bytes + 63) {
    refuse(name + " has " + std::to_string(weights.bytes) + " bytes, not " + std::to_string(bytes));
  }
  WeightMatrix& place = layers_[static_cast<std::size_t>(layer)].matrices[static_cast<std::size_t>(matrix)];
  place.rows = form.rows;
  place.columns = form.columns;
  place.group = weights.group;
  place.panels = upload<unsigned char>(weights.panels, bytes, stream);
  place.input_scales = {};
  if (weights.input_scales != nullptr) {
    place.input_scales = upload<float>(weights.input_scales, static_cast<std::size_t>(form.columns), stream);
  }
}

void Weights::put_embedding(int type, const void* numbers, std::uint64_t bytes, const Stream& stream) {
  if (type < WKV_CUDA_F32 || type > WKV_CUDA_BF16) refuse("there is no type " + std::to_string(type));
  const std::uint64_t expected = static_cast<std::uint64_t>(shape_.vocabulary) *
                                 static_cast<std::uint64_t>(shape_.channels) * (type == WKV_CUDA_F32 ? 4 : 2);
  if (bytes != expected) {
    refuse("the embedding has " + std::to_string(bytes) + " bytes, not " + std::to_string(expected));
  }
  embedding_ = upload<unsigned char>(numbers, bytes, stream);
  embedding_type_ = static_cast<EmbeddingType>(type);
}

void Weights::require_complete() const {
  if (embedding_.data() == nullptr) refuse("the model has no embedding yet");
  for (int layer = 0; layer < shape_.layers; ++layer) {
    const std::string where = " of layer " + std::to_string(layer) + " yet";
    for (int i = layer == 0 ? 0 : WKV_CUDA_LN1_WEIGHT; i < WKV_CUDA_VECTORS; ++i) {
      if (vector(static_cast<WkvCudaVector>(i), layer) == nullptr) {
        refuse("the model has no vector " + std::to_string(i) + where);
      }
    }
    for (int i = layer == 0 ? 0 : WKV_CUDA_ATT_RECEPTANCE; i < WKV_CUDA_MATRICES; ++i) {
      if (matrix(static_cast<WkvCudaMatrixName>(i), layer).panels.data() == nullptr) {
        refuse("the model has no matrix " + std::to_string(i) + where);
      }
    }
  }
}

}  // namespace wkv::cuda
