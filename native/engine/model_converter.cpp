#include "engine/model_converter.h"

#include <algorithm>

#include "engine/elements.h"
#include "engine/error.h"
#include "engine/file_writer.h"
#include "engine/fingerprint.h"
#include "engine/weights_reader.h"

namespace wkv {

namespace {

using PlacesInFile = std::map<std::string, std::uint64_t>;

std::uint64_t place_of(const PlacesInFile& places, const std::string& name) {
  const auto found = places.find(name);
  if (found != places.end()) return found->second;
  throw Error("ERR_WKV_SHAPE", "the file has no place for the tensor " + name).about(name, "a place", "none");
}

// What is left when the tensors have been written.
void finish(FileWriter& writer, const OutputFile& file, const std::atomic<bool>& cancelled) {
  writer.write(0, file.header.data(), file.header.size());
  writer.synchronize();
  if (cancelled.load()) throw Cancelled{};
  writer.finish(file.overwrite);
}

class FileSink : public PackedSink {
 public:
  FileSink(const FileWriter& writer, const PlacesInFile& places) : writer_(writer), places_(places) {}

  void put(const std::string& name, const Matrix& matrix) override {
    writer_.write(place_of(places_, name), matrix.data.data(), matrix.data.size());
    if (matrix.input_scales.empty()) return;
    const std::size_t bytes = matrix.input_scales.size() * sizeof(float);
    writer_.write(place_of(places_, name + ".input_scales"), matrix.input_scales.data(), bytes);
  }

  void put(const std::string& name, std::uint64_t offset, std::span<const unsigned char> elements) override {
    writer_.write(place_of(places_, name) + offset, elements.data(), elements.size());
  }

 private:
  const FileWriter& writer_;
  const PlacesInFile& places_;
};

void require_convertible(const TensorDirectory& directory, Precision weights) {
  if (directory.packed) {
    throw Error("ERR_WKV_UNSUPPORTED", std::string("the file is packed already, as ") +
                                           name_of(directory.packed->weights) +
                                           "; convert the file that it was made from")
        .about({}, "weights that are not quantized", name_of(directory.packed->weights));
  }
  if (!is_quantized(weights)) {
    throw Error("ERR_WKV_UNSUPPORTED", std::string("files are not packed as ") + name_of(weights))
        .about({}, "int8 or int4", name_of(weights));
  }
}

}  // namespace

std::vector<PlannedMatrix> plan_conversion(const TensorDirectory& directory, Precision weights) {
  require_convertible(directory, weights);
  return plan_weights(directory, weights);
}

std::string convert_model(const TensorDirectory& directory, PackedFile file, unsigned threads,
                          const std::atomic<bool>& cancelled, const LoadProgress& progress) {
  require_convertible(directory, file.weights);
  const ModelInfo info = inspect_weights(directory, {.weights = file.weights});
  OutputFile& output = file.output;
  FileWriter writer(output.temporary, output.path);
  FileSink sink(writer, output.places);
  const auto hashes = pack_weights(directory, file.weights, threads, cancelled, progress, sink);
  std::string print = fingerprint(info, directory, hashes);
  std::copy(print.begin(), print.end(),
            output.header.begin() + static_cast<std::ptrdiff_t>(file.fingerprint_at));
  finish(writer, output, cancelled);
  return print;
}

void convert_elements(const TensorDirectory& directory, const ElementsFile& file, unsigned threads,
                      const std::atomic<bool>& cancelled, const LoadProgress& progress) {
  std::vector<std::uint64_t> places;
  for (const TensorEntry& tensor : directory.tensors) {
    places.push_back(place_of(file.output.places, tensor.name));
  }
  const auto width = static_cast<std::uint64_t>(bytes_of(file.type));
  FileWriter writer(file.output.temporary, file.output.path);
  read_elements(directory, file.type, threads, cancelled, progress,
                [&](std::size_t tensor, std::uint64_t first, std::span<const unsigned char> elements) {
                  writer.write(places[tensor] + first * width, elements.data(), elements.size());
                });
  finish(writer, file.output, cancelled);
}

}  // namespace wkv
