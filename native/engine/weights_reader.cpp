#include "engine/weights_reader.h"

#include "engine/architecture.h"
#include "engine/error.h"
#include "engine/fingerprint.h"
#include "engine/input_scales.h"
#include "engine/packed_matrix.h"
#include "engine/cuda_network.h"
#include "engine/tensor_names.h"

namespace wkv {

namespace {

// Models from this many parameters on are kept in int8 unless something else is asked for.
constexpr std::int64_t kInt8From = 100'000'000;
// What the input scales of a packed file's matrix are called.
constexpr const char* kInputScales = ".input_scales";
// In int4 there is room for a head of 8 bits where that leaves all matrices together at this many bits a
// number, and nothing needs it more.
constexpr double kInt4Bits = 4.5;

// The embedding is looked up, not multiplied with: beside quantized matrices it stays as the file has it.
StoredType embedding_type(Precision precision, StoredType own) {
  return is_quantized(precision) ? own : stored_type_of(precision);
}

// LoRA matrices stay as the file has them, but for models that are f32 altogether, and what files have in
// blocks or otherwise than as it is: no 16 bits would be those numbers.
Precision lora_precision(Precision precision, const TensorEntry& tensor) {
  return precision == Precision::kF32 || !is_plain(tensor) ? Precision::kF32 : precision_of(tensor.type);
}

Matrix form_of(const Slot& slot, Precision precision) {
  return Matrix::form(precision, static_cast<int>(slot.shape[0]), static_cast<int>(slot.shape[1]));
}

Precision head_precision(const std::vector<Slot>& slots, Precision weights) {
  if (weights != Precision::kInt4) return weights;
  double numbers = 0;
  double bytes = 0;
  for (const Slot& slot : slots) {
    if (place_in<Matrix>(slot) == nullptr) continue;
    const bool is_head = slot.name == "head.weight";
    numbers += static_cast<double>(slot.shape[0]) * static_cast<double>(slot.shape[1]);
    bytes += static_cast<double>(form_of(slot, is_head ? Precision::kInt8 : weights).size_in_bytes());
  }
  return bytes * 8 <= kInt4Bits * numbers ? Precision::kInt8 : weights;
}

// A packed file has all matrices packed, and nothing else; other files have nothing packed.
void require_packed(const TensorEntry& tensor, bool expected) {
  if (tensor.packed.has_value() == expected) return;
  throw Error("ERR_WKV_FORMAT", "the tensor " + tensor.name + (expected ? " is not packed" : " is packed"))
      .about(tensor.name, expected ? "a packed matrix" : "plain numbers",
             expected ? "plain numbers" : "a packed matrix");
}

Precision choose_weights(const TensorDirectory& directory, const LoadOptions& options,
                         std::int64_t parameters) {
  if (!directory.packed) {
    return options.weights.value_or(parameters >= kInt8From ? Precision::kInt8 : Precision::kF32);
  }
  const Precision own = directory.packed->weights;
  if (!is_quantized(own)) {
    throw Error("ERR_WKV_FORMAT", std::string("nothing is packed as ") + name_of(own))
        .about({}, "int8 or int4", name_of(own));
  }
  if (options.weights.value_or(own) != own) {
    throw Error("ERR_WKV_UNSUPPORTED", std::string("the file is packed as ") + name_of(own) +
                                           " and cannot be loaded as " + name_of(*options.weights) +
                                           "; load or convert the file that it was made from")
        .about({}, name_of(own), name_of(*options.weights));
  }
  return own;
}

// A model whose tensors have all been found, none of them read.
struct Inspected {
  Inspected(const TensorDirectory& directory, const LoadOptions& options)
      : names(directory), blueprint(make_blueprint(directory, names)), slots(blueprint->slots()) {
    if (directory.packed && !is_fingerprint(directory.packed->fingerprint)) {
      throw Error("ERR_WKV_FORMAT", "the fingerprint of the packed model is none")
          .about({}, "32 hex digits", directory.packed->fingerprint);
    }
    ModelInfo& info = blueprint->info;
    for (const Slot& slot : slots) {
      const TensorEntry& tensor = names.take(slot.name, slot.shape);
      require_packed(tensor, directory.packed.has_value() && place_in<Matrix>(slot) != nullptr);
      info.parameters += element_count(tensor);
      if (tensor.packed && names.has(slot.name + kInputScales))
        require_packed(names.take(slot.name + kInputScales, {slot.shape[1]}), false);
    }
    info.weights = choose_weights(directory, options, info.parameters);
    head = head_precision(slots, info.weights);
    for (const Slot& slot : slots) info.weight_bytes += bytes_for(slot);
    names.refuse_unused("RWKV " + info.version);
  }

  const ModelInfo& info() const { return blueprint->info; }

  Precision precision_of(const Slot& slot) const {
    return slot.name == "head.weight" ? head : info().weights;
  }

  std::size_t bytes_for(const Slot& slot) const {
    const TensorEntry& tensor = names.get(slot.name);
    if (tensor.packed) return packed_form(tensor).size_in_bytes();
    if (place_in<Matrix>(slot) != nullptr) return form_of(slot, precision_of(slot)).size_in_bytes();
    if (place_in<RowMatrix>(slot) != nullptr) {
      return RowMatrix::size_in_bytes(embedding_type(info().weights, tensor.type),
                                      static_cast<int>(slot.shape[0]), static_cast<int>(slot.shape[1]));
    }
    if (LoraMatrix* const lora = place_in<LoraMatrix>(slot)) {
      lora->precision = lora_precision(info().weights, tensor);
      return lora->size_in_bytes();
    }
    return static_cast<std::size_t>(element_count(tensor)) * sizeof(float);
  }

  TensorNames names;
  std::unique_ptr<Blueprint> blueprint;
  std::vector<Slot> slots;
  Precision head = {};
};

// The places of a model while its file is read: who adds them to the loader decides what becomes of them. The
// scales of the matrices' inputs follow from vectors, which are read first, and some from other matrices.
struct Reading {
  Reading(const TensorDirectory& directory, const LoadOptions& options, unsigned threads,
          const std::atomic<bool>& cancelled, const LoadProgress& progress)
      : inspected(directory, options),
        loader(directory, threads, cancelled, progress),
        scales(inspected.slots, is_quantized(inspected.info().weights) && !directory.packed) {}

  template <class Add>
  void add_all(Add&& add) {
    for (const int phase : {0, 1, 2}) {
      if (phase == 1) loader.then([this] { scales.from_vectors(); });
      if (phase == 2) loader.then([this] { scales.from_matrices(); });
      for (const Slot& slot : inspected.slots) {
        if (phase == scales.phase_of(slot)) add(slot, inspected.names.get(slot.name));
      }
    }
  }

  Inspected inspected;
  TensorLoader loader;
  InputScales scales;
};

void add_lora(Reading& reading, const TensorEntry& tensor, LoraMatrix& lora) {
  reading.loader.add(tensor, lora.numbers, {}, [&lora] { lora.pack(); });
}

// What becomes of a place when it has been read: nothing, or it goes to the device.
template <class Place>
TensorLoader::Done uploading(const Place& place, Uploader* uploader) {
  if (uploader == nullptr) return {};
  return [&place, uploader] { uploader->put(place); };
}

// Reads a tensor of a file that is not packed.
void add(Reading& reading, const Slot& slot, const TensorEntry& tensor, Uploader* uploader) {
  const Precision precision = reading.inspected.precision_of(slot);
  if (Matrix* const matrix = place_in<Matrix>(slot)) {
    *matrix = form_of(slot, precision);
    if (uploader == nullptr) matrix->data = Memory(matrix->size_in_bytes());
    reading.loader.add(tensor, *matrix, reading.scales.visitor(*matrix), uploading(*matrix, uploader));
  } else if (RowMatrix* const rows = place_in<RowMatrix>(slot)) {
    *rows = RowMatrix(embedding_type(precision, tensor.type), static_cast<int>(slot.shape[0]),
                      static_cast<int>(slot.shape[1]), {});
    if (uploader == nullptr) rows->data = Memory(rows->size_in_bytes());
    reading.loader.add(tensor, *rows, uploading(*rows, uploader));
  } else if (LoraMatrix* const lora = place_in<LoraMatrix>(slot)) {
    add_lora(reading, tensor, *lora);
  } else {
    reading.loader.add(tensor, *place_in<std::vector<float>>(slot));
  }
}

void require_input_scales(const Slot& slot) {
  const Matrix* const matrix = place_in<Matrix>(slot);
  if (matrix == nullptr) return;
  for (const float scale : matrix->input_scales) {
    if (scale > 0) continue;
    throw Error("ERR_WKV_FORMAT",
                "the tensor " + slot.name + kInputScales + " holds " + std::to_string(scale))
        .about(slot.name + kInputScales, "numbers above 0", std::to_string(scale));
  }
}

// Takes the tensors of a packed file as they are. Vectors come first: a matrix is complete when it has been
// read. What is not to stay is not mapped, either.
void keep_all(Reading& reading, bool mapped, Uploader* uploader) {
  const Inspected& inspected = reading.inspected;
  TensorLoader& loader = reading.loader;
  for (const Slot& slot : inspected.slots) {
    const TensorEntry& tensor = inspected.names.get(slot.name);
    if (Matrix* const matrix = place_in<Matrix>(slot)) {
      *matrix = packed_form(tensor);
      const std::string scales = slot.name + kInputScales;
      if (inspected.names.has(scales)) loader.add(inspected.names.get(scales), matrix->input_scales);
    } else if (LoraMatrix* const lora = place_in<LoraMatrix>(slot)) {
      add_lora(reading, tensor, *lora);
    } else if (auto* const vector = place_in<std::vector<float>>(slot)) {
      loader.add(tensor, *vector);
    }
  }
  loader.then([&inspected] {
    for (const Slot& slot : inspected.slots) require_input_scales(slot);
  });
  for (const Slot& slot : inspected.slots) {
    const TensorEntry& tensor = inspected.names.get(slot.name);
    if (Matrix* const matrix = place_in<Matrix>(slot)) {
      loader.keep(tensor, *matrix, mapped, uploading(*matrix, uploader));
    } else if (RowMatrix* const rows = place_in<RowMatrix>(slot)) {
      *rows = RowMatrix(tensor.type, static_cast<int>(slot.shape[0]), static_cast<int>(slot.shape[1]), {});
      loader.keep(tensor, *rows, mapped, uploading(*rows, uploader));
    }
  }
}

// Packs a tensor, or hands it on as the file has it.
void pass_on(Reading& reading, const Slot& slot, const TensorEntry& tensor, PackedSink& sink) {
  const auto show = [&](std::uint64_t offset, std::span<const unsigned char> elements) {
    sink.put(tensor.name, offset, elements);
  };
  if (Matrix* const matrix = place_in<Matrix>(slot)) {
    *matrix = form_of(slot, reading.inspected.precision_of(slot));
    reading.loader.add(tensor, *matrix, reading.scales.visitor(*matrix),
                       [&sink, &tensor, matrix] { sink.put(tensor.name, *matrix); });
  } else if (place_in<RowMatrix>(slot) != nullptr) {
    reading.loader.show(tensor, shown_type(tensor), show);
  } else if (LoraMatrix* const lora = place_in<LoraMatrix>(slot)) {
    reading.loader.add(tensor, lora->numbers, show, [] {});
  } else {
    reading.loader.add(tensor, *place_in<std::vector<float>>(slot), show);
  }
}

}  // namespace

ModelInfo inspect_weights(const TensorDirectory& directory, const LoadOptions& options) {
  return Inspected(directory, options).info();
}

LoadedWeights load_weights(const TensorDirectory& directory, const LoadOptions& options, unsigned threads,
                           const std::atomic<bool>& cancelled, const LoadProgress& progress) {
  Reading reading(directory, options, threads, cancelled, progress);
  const ModelInfo& info = reading.inspected.info();
  Blueprint& blueprint = *reading.inspected.blueprint;
  if (options.cuda != nullptr) require_cuda(info, *options.cuda, options.cuda_device);
  Uploader* const uploader = blueprint.begin_upload(options);
  if (directory.packed) {
    keep_all(reading, options.mmap && uploader == nullptr, uploader);
  } else {
    reading.add_all(
        [&](const Slot& slot, const TensorEntry& tensor) { add(reading, slot, tensor, uploader); });
  }
  reading.loader.run();
  return {blueprint.build(info, options), reading.loader.hashes()};
}

std::vector<PlannedMatrix> plan_weights(const TensorDirectory& directory, Precision weights) {
  const Inspected inspected(directory, {.weights = weights});
  std::vector<PlannedMatrix> matrices;
  for (const Slot& slot : inspected.slots) {
    if (place_in<Matrix>(slot) == nullptr) continue;
    const Matrix form = form_of(slot, inspected.precision_of(slot));
    matrices.push_back({.name = slot.name,
                        .precision = form.precision,
                        .rows = form.rows,
                        .columns = form.columns,
                        .group = form.group < form.padded_columns ? form.group : 0,
                        .bytes = form.size_in_bytes()});
  }
  return matrices;
}

std::map<std::string, std::uint64_t> pack_weights(const TensorDirectory& directory, Precision weights,
                                                  unsigned threads, const std::atomic<bool>& cancelled,
                                                  const LoadProgress& progress, PackedSink& sink) {
  Reading reading(directory, {.weights = weights}, threads, cancelled, progress);
  reading.add_all([&](const Slot& slot, const TensorEntry& tensor) { pass_on(reading, slot, tensor, sink); });
  reading.loader.run();
  return reading.loader.hashes();
}

}  // namespace wkv
