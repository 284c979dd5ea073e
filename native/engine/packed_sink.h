#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/matrix.h"

namespace wkv {

// A matrix as a packed file is to have it.
struct PlannedMatrix {
  std::string name;
  Precision precision;
  int rows;
  int columns;
  int group;  // as PackedBlock::group
  std::uint64_t bytes;
};

// Where a conversion puts what it makes; called on several threads. Tensors that are no matrices come as the
// source has them, in runs, each with its place among the tensor's bytes.
class PackedSink {
 public:
  virtual ~PackedSink() = default;
  virtual void put(const std::string& name, const Matrix& matrix) = 0;
  virtual void put(const std::string& name, std::uint64_t offset,
                   std::span<const unsigned char> elements) = 0;
};

}  // namespace wkv
