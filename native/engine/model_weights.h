#pragma once

// What the weights of all architectures have in common, and what is known of a tensor before it is read.

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "engine/load_options.h"
#include "engine/matrix.h"
#include "engine/network.h"
#include "engine/lora_matrix.h"

namespace wkv {

using Shape = std::vector<std::int64_t>;

struct NormWeights {
  std::vector<float> weight;
  std::vector<float> bias;
};

// What is before the layers and after them.
struct OuterWeights {
  RowMatrix embedding;
  NormWeights ln0;
  NormWeights ln_out;
  Matrix head;
};

// Where a matrix's inputs come from, as far as that tells how large they will be (engine/input_scales.h).
struct InputSource {
  const NormWeights* norm = nullptr;        // this layer norm's output,
  const std::vector<float>* mix = nullptr;  // mixed with that of the token before; null: as it is
  const Matrix* matrix = nullptr;           // or the products of that matrix, whose own inputs are known,
  bool squared = false;                     // squared where they are positive
};

// A tensor that a model needs, and its place among the model's weights.
struct Slot {
  std::string name;
  Shape shape;
  std::variant<std::vector<float>*, RowMatrix*, Matrix*, LoraMatrix*> place;
  InputSource source = {};  // of a Matrix
};

// Where the tensor goes, if that is a place of this kind; else null.
template <class Place>
Place* place_in(const Slot& slot) {
  Place* const* place = std::get_if<Place*>(&slot.place);
  return place == nullptr ? nullptr : *place;
}

// Takes a model's matrices to a device, each as soon as it has been read; the host needs it no more then.
class Uploader {
 public:
  virtual ~Uploader() = default;
  // Called with the places that the blueprint's slots name, on any thread. Throws ERR_WKV_DEVICE.
  virtual void put(const Matrix& matrix) = 0;
  virtual void put(const RowMatrix& matrix) = 0;
};

// A model that is being put together: its weights, still empty at first. One for each architecture.
class Blueprint {
 public:
  virtual ~Blueprint() = default;

  // All but what depends on the weights' precision.
  ModelInfo info;

  // The tensors that the model needs, always with the same places.
  virtual std::vector<Slot> slots() = 0;

  // Where the matrices are to go while they are read, for a network on a device: throws ERR_WKV_DEVICE. Null:
  // they stay in their places.
  virtual Uploader* begin_upload(const LoadOptions& options) = 0;

  // The network, when everything has been read; takes the weights along, or to the device what is not there.
  virtual std::shared_ptr<const Network> build(ModelInfo complete, const LoadOptions& options) = 0;
};

class TensorNames;

// The dimensions that all architectures have in common, from the shapes of tensors. Throws ERR_WKV_SHAPE.
ModelInfo common_info(const TensorNames& names, const std::string& architecture, const std::string& version);

// Adds heads to the dimensions, and with them a recurrence whose state is a matrix for each: the state is
// att_x [embedding], ffn_x [embedding], wkv [heads][head size][head size]. `tensor` is to blame if that is
// too large: throws ERR_WKV_SHAPE.
void set_heads(ModelInfo& info, int heads, int head_size, const std::string& tensor);

// The slots of a layer norm, and of what is before the layers and after them.
void add_norm(std::vector<Slot>& slots, const std::string& name, NormWeights& norm, int size);
void add_first(std::vector<Slot>& slots, const ModelInfo& info, OuterWeights& outer);
void add_last(std::vector<Slot>& slots, const ModelInfo& info, OuterWeights& outer);

}  // namespace wkv
