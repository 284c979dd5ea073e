#pragma once

// What has to be so of the bytes of a packed file before kernels may see them.

#include <cstdint>
#include <string>

#include "engine/matrix.h"

namespace wkv {

// The matrix [rows, columns] that a packed file has, yet without its data. Throws ERR_WKV_FORMAT unless its
// group is one that kernels take, and its block has the bytes of such a matrix, aligned as kernels want it.
Matrix packed_form(const TensorEntry& tensor);

// Looks at the panels of the rows [row, row + count); both are multiples of a panel's rows, but for the last.
// Throws ERR_WKV_FORMAT where a code or a scale is none that quantizing gives.
void check_panels(const Matrix& matrix, const std::string& name, int row, int count);

}  // namespace wkv
