#pragma once

#include <initializer_list>
#include <memory>
#include <vector>

#include "backend/cuda/quantized.h"
#include "backend/cuda/tensors.h"
#include "kernels/cuda/segment.h"
#include "kernels/gemm/cuda.h"
#include "kernels/gemm_int8/cuda.h"
#include "kernels/quantize/quantize.h"
#include "kernels/token_shift/cuda.h"

namespace wkv::cuda {

// What the layers of all architectures have in common: buffers of one step.
struct LayerBuffers {
  explicit LayerBuffers(const WkvCudaShape& shape);

  DeviceArray<float> x;          // the residual stream, [tokens][channels]
  DeviceArray<Floats2> moments;  // of its rows, in between
  DeviceArray<float> gate, hidden;
  std::vector<Quantized> mixed;  // of channels
  Quantized wide;                // of attention's or channel mixing's own channels
};

// One step; everything is put on the stream in order.
struct Call {
  const WkvCudaShape& shape;
  const Weights& weights;
  const LayerBuffers& b;
  cudaStream_t stream;
  // In the GPU's memory, of this step.
  const Segment* segments_of_step;
  const int* token_ids;
  const int* segment_of;
  int tokens = 0;
  int segments = 0;

  // Where parts of a layer begin in a session's state.
  std::ptrdiff_t att_x(int layer) const { return layer * layer_numbers(shape); }
  std::ptrdiff_t ffn_x(int layer) const { return att_x(layer) + shape.channels; }
  std::ptrdiff_t recurrence(int layer) const { return ffn_x(layer) + shape.channels; }

  // Of which of two tokens a mix is the share: this one's in RWKV-4 and 5, that of the one before since.
  bool share_of_before() const { return shape.architecture >= WKV_CUDA_RWKV6; }

  // x = LN(embedding[token]; ln0)
  void embed() const;

  struct MixOf {
    WkvCudaVector mix;
    WkvCudaMatrixName matrix;
  };
  // Quantizes the shifted norm of x for each of the matrices: in b.mixed, in their order.
  void shift(WkvCudaVector norm, std::ptrdiff_t state_offset, std::initializer_list<MixOf> mixes,
             int layer) const;
  // The norms of x, and those of the tokens before, as they are.
  void shift(WkvCudaVector norm, std::ptrdiff_t state_offset, const DeviceArray<float>& current,
             const DeviceArray<float>& previous, int layer) const;

  // Of weights of 8 bits or of 4.
  struct MatrixProduct {
    WeightBits bits;
    QuantizedProduct product;
  };
  MatrixProduct product(WkvCudaMatrixName matrix, int layer, const Quantized& input,
                        const DeviceArray<float>& output, Epilogue epilogue = Epilogue::kStore,
                        const float* factor = nullptr) const;
  void multiply(std::initializer_list<MatrixProduct> products, int count) const;
  void multiply(std::initializer_list<MatrixProduct> products) const { multiply(products, tokens); }

  // `towards` is of GemmEpilogue::kBiasMoveTowards; the bias of those that have one.
  GemmProduct lora_product(WkvCudaLoraName matrix, int layer, const DeviceArray<float>& input,
                           const DeviceArray<float>& output, GemmEpilogue epilogue,
                           const float* bias = nullptr, const float* towards = nullptr) const;
  void multiply(std::initializer_list<GemmProduct> products) const;

  // x += sigmoid(R xr) * (V relu(K xk)^2), without the gate in RWKV-7.
  void channel_mixing(int layer) const;

 private:
  // Yet without mixes, or places for the norms.
  ShiftQuantizeArguments shift_of(WkvCudaVector norm, std::ptrdiff_t state_offset, int layer) const;
};

// The time mixing of one architecture, with its buffers. x += time mixing of LN(x; ln1).
class TimeMixing {
 public:
  virtual ~TimeMixing() = default;
  virtual void put(const Call& call, int layer) const = 0;
};

std::unique_ptr<TimeMixing> rwkv4_time_mixing(const WkvCudaShape& shape);
std::unique_ptr<TimeMixing> rwkv5_time_mixing(const WkvCudaShape& shape);
std::unique_ptr<TimeMixing> rwkv6_time_mixing(const WkvCudaShape& shape);
std::unique_ptr<TimeMixing> rwkv7_time_mixing(const WkvCudaShape& shape);
std::unique_ptr<TimeMixing> time_mixing_of(const WkvCudaShape& shape);

}  // namespace wkv::cuda
