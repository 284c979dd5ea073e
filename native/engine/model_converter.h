#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/packed_sink.h"
#include "engine/tensor_directory.h"
#include "engine/tensor_loader.h"

namespace wkv {

// The file that a conversion makes. Its header and the places of its tensors are JavaScript's business:
// lib/formats/packed.ts and elements.ts.
struct OutputFile {
  std::string temporary;  // see FileWriter
  std::string path;
  bool overwrite = false;                  // whether what is at the path when the file is whole is replaced
  std::vector<unsigned char> header = {};  // from byte 0 of the file on
  // Where tensors begin, by name; a packed matrix's input scales as NAME.input_scales.
  std::map<std::string, std::uint64_t> places = {};
};

struct PackedFile {
  OutputFile output;
  Precision weights = {};
  std::size_t fingerprint_at = 0;  // in the header, where 32 bytes are yet to be known
};

// A file of elements alone, all of one type.
struct ElementsFile {
  OutputFile output;
  StoredType type = StoredType::kF32;
};

// The matrices that the file is to have. Throws Error.
std::vector<PlannedMatrix> plan_conversion(const TensorDirectory& directory, Precision weights);

// Writes the file, and returns the fingerprint of the weights. Where it throws (Error, Cancelled,
// std::bad_alloc) nothing is left, and what was at the file's path is as it was.
std::string convert_model(const TensorDirectory& directory, PackedFile file, unsigned threads,
                          const std::atomic<bool>& cancelled, const LoadProgress& progress);

// Writes the file, of any model's tensors. Where it throws, as convert_model().
void convert_elements(const TensorDirectory& directory, const ElementsFile& file, unsigned threads,
                      const std::atomic<bool>& cancelled, const LoadProgress& progress);

}  // namespace wkv
