// From a file's tensors to Weights: which tensors there must be, with which shapes.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>

#include "engine/error.h"
#include "engine/packed_matrix.h"
#include "engine/rwkv5.h"
#include "engine/rwkv5_cuda.h"
#include "engine/rwkv5_input_scales.h"
#include "engine/rwkv5_network.h"
#include "engine/rwkv5_weights.h"

namespace wkv::rwkv5 {

namespace {

constexpr std::int64_t kMostChannels = std::int64_t{1} << 24;
constexpr int kMostLayers = 1024;
// Models from this many parameters on are kept in int8 unless something else is asked for.
constexpr std::int64_t kInt8From = 100'000'000;
// What the input scales of a packed file's matrix are called.
constexpr const char* kInputScales = ".input_scales";

struct Dimensions {
  int layers = 0;
  int embedding = 0;  // D
  int attention = 0;  // heads * head_size; D in all published models
  int heads = 0;
  int head_size = 0;
  int feed_forward = 0;
  int vocabulary = 0;
};

using Shape = std::vector<std::int64_t>;

class Names {
 public:
  explicit Names(const TensorDirectory& directory) : directory_(directory) {
    for (const TensorEntry& tensor : directory.tensors) {
      if (!by_name_.emplace(tensor.name, &tensor).second) {
        throw Error("ERR_WKV_FORMAT", "the tensor " + tensor.name + " is there twice").about(tensor.name);
      }
    }
  }

  bool has(const std::string& name) const { return by_name_.contains(name); }

  const TensorEntry& get(const std::string& name, const Shape& expected = {}) const {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) {
      throw Error("ERR_WKV_SHAPE", "the tensor " + name + " is missing")
          .about(name, expected.empty() ? "a tensor of this name" : shape_text(expected), "nothing");
    }
    return *found->second;
  }

  // One more than the highest N of the names "blocks.N."; a layer missing in between is missed later.
  int layers() const {
    int layers = 1;
    for (const TensorEntry& tensor : directory_.tensors) {
      int index = 0;
      const std::string_view name = std::string_view(tensor.name);
      if (!name.starts_with("blocks.")) continue;
      const auto [end, error] = std::from_chars(name.data() + 7, name.data() + name.size(), index);
      if (error != std::errc{} || end == name.data() + name.size() || *end != '.') continue;
      if (index < 0 || index >= kMostLayers) {
        throw Error("ERR_WKV_SHAPE", "the tensor " + tensor.name + " is of a layer beyond the " +
                                         std::to_string(kMostLayers) + "th")
            .about(tensor.name, "at most " + std::to_string(kMostLayers) + " layers", tensor.name);
      }
      layers = std::max(layers, index + 1);
    }
    return layers;
  }

  // The tensor, with its place in the file checked and with exactly this shape. Vectors may carry leading
  // dimensions of 1, as the time_mix tensors do.
  const TensorEntry& take(const std::string& name, const Shape& expected) {
    const TensorEntry& tensor = get(name, expected);
    Shape shape = tensor.shape;
    while (expected.size() == 1 && shape.size() > 1 && shape.front() == 1) shape.erase(shape.begin());
    if (shape != expected) {
      throw Error("ERR_WKV_SHAPE", "the tensor " + name + " has the shape " + shape_text(tensor.shape) +
                                       ", expected " + shape_text(expected))
          .about(name, shape_text(expected), shape_text(tensor.shape));
    }
    static_cast<void>(checked_extent(directory_, tensor));
    used_.insert(name);
    return tensor;
  }

  void refuse_unused() const {
    for (const TensorEntry& tensor : directory_.tensors) {
      if (used_.contains(tensor.name)) continue;
      const bool tuned = tensor.name.ends_with(".att.time_state");
      throw Error("ERR_WKV_UNSUPPORTED",
                  tuned ? "the model carries a tuned initial state (" + tensor.name + "), not supported yet"
                        : "the tensor " + tensor.name + " does not belong to an RWKV 5.2 model")
          .about(tensor.name, "only the tensors of RWKV 5.2", shape_text(tensor.shape));
    }
  }

 private:
  const TensorDirectory& directory_;
  std::unordered_map<std::string, const TensorEntry*> by_name_;
  std::unordered_set<std::string> used_;
};

// A dimension of a matrix that the others are measured by.
int dimension(const TensorEntry& tensor, std::size_t index, std::size_t rank) {
  if (tensor.shape.size() != rank) {
    throw Error("ERR_WKV_SHAPE", "the tensor " + tensor.name + " has the shape " + shape_text(tensor.shape))
        .about(tensor.name, std::to_string(rank) + " dimensions", shape_text(tensor.shape));
  }
  const std::int64_t size = tensor.shape[index];
  if (size < 1 || size > kMostChannels) {
    throw Error("ERR_WKV_SHAPE", "the tensor " + tensor.name + " has the shape " + shape_text(tensor.shape))
        .about(tensor.name, "dimensions from 1 to " + std::to_string(kMostChannels),
               shape_text(tensor.shape));
  }
  return static_cast<int>(size);
}

Dimensions derive_dimensions(const Names& names) {
  Dimensions d;
  const TensorEntry& embedding = names.get("emb.weight");
  d.vocabulary = dimension(embedding, 0, 2);
  d.embedding = dimension(embedding, 1, 2);
  const TensorEntry& decay = names.get("blocks.0.att.time_decay");
  d.heads = dimension(decay, 0, 2);
  d.head_size = dimension(decay, 1, 2);
  const std::int64_t attention = std::int64_t{d.heads} * d.head_size;
  if (attention > kMostChannels || std::int64_t{d.head_size} * d.head_size > kMostChannels) {
    throw Error("ERR_WKV_SHAPE",
                "the tensor blocks.0.att.time_decay has the shape " + shape_text(decay.shape))
        .about(decay.name, "at most 2^24 channels and numbers in a head's state", shape_text(decay.shape));
  }
  d.attention = static_cast<int>(attention);
  d.feed_forward = dimension(names.get("blocks.0.ffn.key.weight"), 0, 2);
  d.layers = names.layers();
  return d;
}

// Calls visit for every tensor of the model with its place in `weights`; both inspection and loading walk
// through here, so there is one list of tensors.
template <class Visitor>
void for_each_tensor(const Dimensions& d, Weights& weights, Visitor&& visit) {
  const auto norm = [&](const std::string& name, NormWeights& place, int size) {
    visit(name + ".weight", Shape{size}, place.weight);
    visit(name + ".bias", Shape{size}, place.bias);
  };
  visit("emb.weight", Shape{d.vocabulary, d.embedding}, weights.embedding);
  norm("blocks.0.ln0", weights.ln0, d.embedding);
  for (int i = 0; i < d.layers; ++i) {
    Layer& layer = weights.layers[static_cast<std::size_t>(i)];
    const std::string block = "blocks." + std::to_string(i) + ".";
    norm(block + "ln1", layer.ln1, d.embedding);
    norm(block + "ln2", layer.ln2, d.embedding);

    Layer::Attention& att = layer.attention;
    visit(block + "att.time_mix_k", Shape{d.embedding}, att.mix_k);
    visit(block + "att.time_mix_v", Shape{d.embedding}, att.mix_v);
    visit(block + "att.time_mix_r", Shape{d.embedding}, att.mix_r);
    visit(block + "att.time_mix_g", Shape{d.embedding}, att.mix_g);
    visit(block + "att.time_decay", Shape{d.heads, d.head_size}, att.forget);
    visit(block + "att.time_faaaa", Shape{d.heads, d.head_size}, att.bonus);
    visit(block + "att.receptance.weight", Shape{d.attention, d.embedding}, att.receptance);
    visit(block + "att.key.weight", Shape{d.attention, d.embedding}, att.key);
    visit(block + "att.value.weight", Shape{d.attention, d.embedding}, att.value);
    visit(block + "att.gate.weight", Shape{d.attention, d.embedding}, att.gate);
    visit(block + "att.output.weight", Shape{d.embedding, d.attention}, att.output);
    norm(block + "att.ln_x", att.ln_x, d.attention);

    Layer::FeedForward& ffn = layer.feed_forward;
    visit(block + "ffn.time_mix_k", Shape{d.embedding}, ffn.mix_k);
    visit(block + "ffn.time_mix_r", Shape{d.embedding}, ffn.mix_r);
    visit(block + "ffn.key.weight", Shape{d.feed_forward, d.embedding}, ffn.key);
    visit(block + "ffn.receptance.weight", Shape{d.embedding, d.embedding}, ffn.receptance);
    visit(block + "ffn.value.weight", Shape{d.embedding, d.feed_forward}, ffn.value);
  }
  norm("ln_out", weights.ln_out, d.embedding);
  visit("head.weight", Shape{d.vocabulary, d.embedding}, weights.head);
}

// The embedding is looked up, not multiplied with: beside quantized matrices it stays as the file has it.
StoredType embedding_type(Precision precision, StoredType own) {
  return is_quantized(precision) ? own : stored_type_of(precision);
}

std::size_t bytes_for(const std::vector<float>&, Precision, StoredType, const Shape& shape) {
  std::size_t bytes = sizeof(float);
  for (const std::int64_t size : shape) bytes *= static_cast<std::size_t>(size);
  return bytes;
}
std::size_t bytes_for(const Matrix&, Precision precision, StoredType, const Shape& shape) {
  return Matrix::size_in_bytes(precision, static_cast<int>(shape[0]), static_cast<int>(shape[1]));
}
std::size_t bytes_for(const RowMatrix&, Precision precision, StoredType own, const Shape& shape) {
  return RowMatrix::size_in_bytes(embedding_type(precision, own), static_cast<int>(shape[0]),
                                  static_cast<int>(shape[1]));
}

void allocate(std::vector<float>&, Precision, StoredType, const Shape&) {}
void allocate(Matrix& matrix, Precision precision, StoredType, const Shape& shape) {
  matrix = Matrix(precision, static_cast<int>(shape[0]), static_cast<int>(shape[1]));
}
void allocate(RowMatrix& matrix, Precision precision, StoredType own, const Shape& shape) {
  matrix = RowMatrix(embedding_type(precision, own), static_cast<int>(shape[0]), static_cast<int>(shape[1]));
}

// What a tensor is kept in: what the model is, but for the head. In int4 there is room for a head of 8 bits
// where that leaves all matrices together at this many bits a number, and nothing needs it more.
constexpr double kInt4Bits = 4.5;

Precision head_precision(const Dimensions& d, Precision weights) {
  if (weights != Precision::kInt4) return weights;
  Weights nowhere;
  nowhere.layers.resize(static_cast<std::size_t>(d.layers));
  double numbers = 0;
  double bytes = 0;
  for_each_tensor(d, nowhere, [&](const std::string&, const Shape& shape, const auto& place) {
    if constexpr (std::is_same_v<decltype(place), const Matrix&>) {
      const bool is_head = &place == &nowhere.head;
      numbers += static_cast<double>(shape[0]) * static_cast<double>(shape[1]);
      bytes += static_cast<double>(bytes_for(place, is_head ? Precision::kInt8 : weights, {}, shape));
    }
  });
  return bytes * 8 <= kInt4Bits * numbers ? Precision::kInt8 : weights;
}

// A packed file has all matrices packed, and nothing else; other files have nothing packed.
template <class Place>
void require_kind(const TensorDirectory& directory, const TensorEntry& tensor, const Place&) {
  const bool expected = directory.packed.has_value() && std::is_same_v<Place, Matrix>;
  if (tensor.packed.has_value() == expected) return;
  throw Error("ERR_WKV_FORMAT", "the tensor " + tensor.name + (expected ? " is not packed" : " is packed"))
      .about(tensor.name, expected ? "a packed matrix" : "plain numbers",
             expected ? "plain numbers" : "a packed matrix");
}

Precision choose_weights(const TensorDirectory& directory, const Options& options, std::int64_t parameters) {
  if (!directory.packed) {
    return options.weights.value_or(parameters >= kInt8From ? Precision::kInt8 : Precision::kF32);
  }
  const Precision own = directory.packed->weights;
  if (!is_quantized(own)) {
    throw Error("ERR_WKV_FORMAT", std::string("nothing is packed as ") + name_of(own))
        .about({}, "int8", name_of(own));
  }
  if (options.weights.value_or(own) != own) {
    throw Error("ERR_WKV_UNSUPPORTED", std::string("the file is packed as ") + name_of(own) +
                                           " and cannot be loaded as " + name_of(*options.weights) +
                                           "; load or convert the file that it was made from")
        .about({}, name_of(own), name_of(*options.weights));
  }
  return own;
}

struct Inspected {
  Dimensions dimensions;
  ModelInfo info;
  Precision head;

  Precision precision_of(const std::string& tensor) const {
    return tensor == "head.weight" ? head : info.weights;
  }
};

Inspected inspect_all(const TensorDirectory& directory, const Options& options) {
  Names names(directory);
  const Dimensions d = derive_dimensions(names);
  ModelInfo info;
  info.architecture = "rwkv5";
  info.version = "5.2";
  info.layers = d.layers;
  info.embedding = d.embedding;
  info.heads = d.heads;
  info.head_size = d.head_size;
  info.feed_forward = d.feed_forward;
  info.vocabulary = d.vocabulary;
  const auto channels = static_cast<std::uint32_t>(d.embedding);
  const auto head_state = static_cast<std::uint32_t>(d.head_size) * static_cast<std::uint32_t>(d.head_size);
  const std::uint64_t wkv_numbers = std::uint64_t{head_state} * static_cast<std::uint32_t>(d.heads);
  if (wkv_numbers > std::numeric_limits<std::int32_t>::max()) {
    throw Error("ERR_WKV_SHAPE",
                "the state of a layer would have " + std::to_string(wkv_numbers) + " numbers")
        .about("blocks.0.att.time_decay", "at most 2^31", std::to_string(wkv_numbers));
  }
  info.state = {static_cast<std::uint32_t>(d.layers),
                {{"att_x", channels, channels},
                 {"ffn_x", channels, channels},
                 {"wkv", static_cast<std::uint32_t>(wkv_numbers), head_state}}};
  Weights nowhere;
  nowhere.layers.resize(static_cast<std::size_t>(d.layers));
  for_each_tensor(d, nowhere, [&](const std::string& name, const Shape& shape, const auto& place) {
    const TensorEntry& tensor = names.take(name, shape);
    require_kind(directory, tensor, place);
    info.parameters += element_count(tensor);
    if (tensor.packed && names.has(name + kInputScales)) names.take(name + kInputScales, {shape[1]});
  });
  info.weights = choose_weights(directory, options, info.parameters);
  Inspected inspected{d, info, head_precision(d, info.weights)};
  for_each_tensor(d, nowhere, [&](const std::string& name, const Shape& shape, const auto& place) {
    const TensorEntry& tensor = names.get(name);
    inspected.info.weight_bytes += tensor.packed
                                       ? packed_form(tensor).size_in_bytes()
                                       : bytes_for(place, inspected.precision_of(name), tensor.type, shape);
  });
  names.refuse_unused();
  return inspected;
}

// Where the weights of a model go while its file is read: who adds them to the loader decides what becomes of
// them. The scales of the matrices' inputs follow from vectors, which are read first, and those of channel
// mixing's value from its key.
struct Reading {
  Reading(const TensorDirectory& directory, const Options& options, unsigned threads,
          const std::atomic<bool>& cancelled, const LoadProgress& progress)
      : inspected(inspect_all(directory, options)),
        names(directory),
        loader(directory, threads, cancelled, progress),
        scales(weights, is_quantized(inspected.info.weights) && !directory.packed) {
    weights.layers.resize(static_cast<std::size_t>(inspected.dimensions.layers));
  }

  template <class Add>
  void add_all(Add&& add) {
    for (const int phase : {0, 1, 2}) {
      if (phase == 1) loader.then([this] { scales.from_vectors(); });
      if (phase == 2) loader.then([this] { scales.from_keys(); });
      for_each_tensor(inspected.dimensions, weights,
                      [&](const std::string& name, const Shape& shape, auto& place) {
                        if (phase == scales.phase_of(place)) add(names.take(name, shape), shape, place);
                      });
    }
  }

  Inspected inspected;
  Names names;
  Weights weights;
  TensorLoader loader;
  InputScales scales;
};

void add(Reading& reading, const TensorEntry& tensor, std::vector<float>& place) {
  reading.loader.add(tensor, place);
}
void add(Reading& reading, const TensorEntry& tensor, RowMatrix& place) { reading.loader.add(tensor, place); }
void add(Reading& reading, const TensorEntry& tensor, Matrix& place) {
  reading.loader.add(tensor, place, reading.scales.visitor(place));
}

void keep(Reading& reading, const TensorEntry& tensor, std::vector<float>& place, bool) {
  reading.loader.add(tensor, place);
}
void keep(Reading& reading, const TensorEntry& tensor, RowMatrix& place, bool mapped) {
  place = RowMatrix(tensor.type, static_cast<int>(tensor.shape[0]), static_cast<int>(tensor.shape[1]), {});
  reading.loader.keep(tensor, place, mapped);
}
void keep(Reading& reading, const TensorEntry& tensor, Matrix& place, bool mapped) {
  place = packed_form(tensor);
  if (const std::string name = tensor.name + kInputScales; reading.names.has(name)) {
    reading.loader.add(reading.names.take(name, {place.columns}), place.input_scales);
  }
  reading.loader.keep(tensor, place, mapped);
}

void require_input_scales(const std::string& name, const Matrix& matrix) {
  for (const float scale : matrix.input_scales) {
    if (scale > 0) continue;
    throw Error("ERR_WKV_FORMAT", "the tensor " + name + kInputScales + " holds " + std::to_string(scale))
        .about(name + kInputScales, "numbers above 0", std::to_string(scale));
  }
}

TensorLoader::BytesVisitor passed_on(const TensorEntry& tensor, PackedSink& sink) {
  return [&](std::uint64_t offset, std::span<const unsigned char> elements) {
    sink.put(tensor.name, offset, elements);
  };
}
void pass_on(Reading& reading, const TensorEntry& tensor, std::vector<float>& place, PackedSink& sink) {
  reading.loader.add(tensor, place, passed_on(tensor, sink));
}
void pass_on(Reading& reading, const TensorEntry& tensor, RowMatrix&, PackedSink& sink) {
  reading.loader.show(tensor, passed_on(tensor, sink));
}
void pass_on(Reading& reading, const TensorEntry& tensor, Matrix& place, PackedSink& sink) {
  place = Matrix::form(reading.inspected.precision_of(tensor.name), static_cast<int>(tensor.shape[0]),
                       static_cast<int>(tensor.shape[1]));
  reading.loader.add(tensor, place, reading.scales.visitor(place),
                     [&](const Matrix& matrix) { sink.put(tensor.name, matrix); });
}

}  // namespace

ModelInfo inspect(const TensorDirectory& directory, const Options& options) {
  return inspect_all(directory, options).info;
}

Loaded load(const TensorDirectory& directory, const Options& options, unsigned threads,
            const std::atomic<bool>& cancelled, const LoadProgress& progress) {
  Reading reading(directory, options, threads, cancelled, progress);
  const ModelInfo& info = reading.inspected.info;
  if (options.cuda != nullptr) require_cuda(info, *options.cuda, options.cuda_device);
  reading.add_all([&](const TensorEntry& tensor, const Shape& shape, auto& place) {
    if (directory.packed) {
      keep(reading, tensor, place, options.mmap);
    } else {
      allocate(place, reading.inspected.precision_of(tensor.name), tensor.type, shape);
      add(reading, tensor, place);
    }
  });
  reading.loader.run();
  for_each_tensor(reading.inspected.dimensions, reading.weights,
                  [](const std::string& name, const Shape&, const auto& place) {
                    if constexpr (std::is_same_v<decltype(place), const Matrix&>) {
                      require_input_scales(name, place);
                    }
                  });
  for (Layer& layer : reading.weights.layers) {
    for (float& decay : layer.attention.forget) {
      decay = static_cast<float>(-std::expm1(-std::exp(static_cast<double>(decay))));
    }
  }
  const auto network = options.cuda != nullptr
                           ? make_cuda_network(info, reading.weights, options.group_norm_epsilon,
                                               *options.cuda, options.cuda_device)
                           : make_network(info, std::move(reading.weights), options.group_norm_epsilon);
  return {network, reading.loader.hashes()};
}

std::vector<PlannedMatrix> plan(const TensorDirectory& directory, Precision weights) {
  const Inspected inspected = inspect_all(directory, {.weights = weights});
  std::vector<PlannedMatrix> matrices;
  Weights nowhere;
  nowhere.layers.resize(static_cast<std::size_t>(inspected.dimensions.layers));
  for_each_tensor(
      inspected.dimensions, nowhere, [&](const std::string& name, const Shape& shape, const auto& place) {
        if constexpr (std::is_same_v<decltype(place), const Matrix&>) {
          const Matrix form = Matrix::form(inspected.precision_of(name), static_cast<int>(shape[0]),
                                           static_cast<int>(shape[1]));
          matrices.push_back({.name = name,
                              .precision = form.precision,
                              .rows = form.rows,
                              .columns = form.columns,
                              .group = form.group < form.padded_columns ? form.group : 0,
                              .bytes = form.size_in_bytes()});
        }
      });
  return matrices;
}

std::map<std::string, std::uint64_t> pack(const TensorDirectory& directory, Precision weights,
                                          unsigned threads, const std::atomic<bool>& cancelled,
                                          const LoadProgress& progress, PackedSink& sink) {
  Reading reading(directory, {.weights = weights}, threads, cancelled, progress);
  reading.add_all(
      [&](const TensorEntry& tensor, const Shape&, auto& place) { pass_on(reading, tensor, place, sink); });
  reading.loader.run();
  return reading.loader.hashes();
}

}  // namespace wkv::rwkv5
