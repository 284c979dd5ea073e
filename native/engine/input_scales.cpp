#include "engine/input_scales.h"

#include <algorithm>
#include <cmath>

namespace wkv {

namespace {

// Channels with less than this of the root mean square are taken to have it.
constexpr double kMinShare = 1e-3;

// From the sizes that channels are expected to have: 1 / size^(3/4), in int4 1 / size^(1/2). The powers were
// found by measuring; square roots give the same bits everywhere.
std::vector<float> scales_for(Precision precision, const std::vector<double>& sizes) {
  double squares = 0;
  for (const double size : sizes) squares += size * size;
  const double mean = std::sqrt(squares / static_cast<double>(sizes.size()));
  std::vector<float> scales;
  scales.reserve(sizes.size());
  for (const double size : sizes) {
    // Nothing is known of a model whose norms are all zero.
    const double relative = mean > 0 ? std::max(size / mean, kMinShare) : 1;
    const double root = std::sqrt(relative);
    scales.push_back(
        static_cast<float>(precision == Precision::kInt4 ? 1 / root : 1 / (root * std::sqrt(root))));
  }
  return scales;
}

// The variance of a layer norm's output, or of what the token shift makes of it, taking neighbours to be
// independent.
std::vector<double> variances_of(const InputSource& source) {
  const std::vector<float>& weights = source.norm->weight;
  std::vector<double> variances(weights.size());
  for (std::size_t i = 0; i < variances.size(); ++i) {
    const double weight = static_cast<double>(weights[i]);
    const double now = source.mix == nullptr ? 1 : static_cast<double>((*source.mix)[i]);
    variances[i] = weight * weight * (now * now + (1 - now) * (1 - now));
  }
  return variances;
}

std::vector<double> sizes_of(const InputSource& source) {
  std::vector<double> sizes = variances_of(source);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const double bias = static_cast<double>(source.norm->bias[i]);
    sizes[i] = std::sqrt(sizes[i] + bias * bias);
  }
  return sizes;
}

}  // namespace

InputScales::InputScales(const std::vector<Slot>& slots, bool wanted) : slots_(slots), wanted_(wanted) {
  if (!wanted) return;
  for (const Slot& slot : slots) {
    if (slot.source.matrix != nullptr) products_[slot.source.matrix].squared = slot.source.squared;
  }
}

int InputScales::phase_of(const Slot& slot) const {
  if (!wanted_ || place_in<Matrix>(slot) == nullptr) return 0;
  return slot.source.matrix == nullptr ? 1 : 2;
}

void InputScales::from_vectors() {
  if (!wanted_) return;
  for (const Slot& slot : slots_) {
    Matrix* const matrix = place_in<Matrix>(slot);
    if (matrix == nullptr || slot.source.norm == nullptr) continue;
    matrix->input_scales = scales_for(matrix->precision, sizes_of(slot.source));
    const auto products = products_.find(matrix);
    if (products == products_.end()) continue;
    products->second.variances = variances_of(slot.source);
    products->second.means.assign(slot.source.norm->bias.begin(), slot.source.norm->bias.end());
  }
}

TensorLoader::RowVisitor InputScales::visitor(const Matrix& matrix) {
  const auto found = products_.find(&matrix);
  if (found == products_.end()) return {};
  Products& products = found->second;
  products.sizes.resize(static_cast<std::size_t>(matrix.rows));
  return [&products](std::int64_t row, std::span<const float> numbers) {
    double variance = 0;
    double mean = 0;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const double weight = static_cast<double>(numbers[i]);
      variance += weight * weight * products.variances[i];
      mean += weight * products.means[i];
    }
    const double square = variance + mean * mean;
    products.sizes[static_cast<std::size_t>(row)] = products.squared ? square : std::sqrt(square);
  };
}

void InputScales::from_matrices() {
  if (!wanted_) return;
  for (const Slot& slot : slots_) {
    Matrix* const matrix = place_in<Matrix>(slot);
    if (matrix == nullptr || slot.source.matrix == nullptr) continue;
    matrix->input_scales = scales_for(matrix->precision, products_[slot.source.matrix].sizes);
  }
}

}  // namespace wkv
