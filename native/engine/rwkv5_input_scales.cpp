#include "engine/rwkv5_input_scales.h"

#include <algorithm>
#include <cmath>

namespace wkv::rwkv5 {

namespace {

// Channels with less than this of the root mean square are taken to have it.
constexpr double kLeast = 1e-3;

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
    const double relative = mean > 0 ? std::max(size / mean, kLeast) : 1;
    const double root = std::sqrt(relative);
    scales.push_back(
        static_cast<float>(precision == Precision::kInt4 ? 1 / root : 1 / (root * std::sqrt(root))));
  }
  return scales;
}

std::vector<double> norm_sizes(const NormWeights& norm) {
  std::vector<double> sizes(norm.weight.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const double weight = static_cast<double>(norm.weight[i]);
    const double bias = static_cast<double>(norm.bias[i]);
    sizes[i] = std::sqrt(weight * weight + bias * bias);
  }
  return sizes;
}

// The variance that the token shift leaves of a layer norm's output, taking neighbours to be independent.
std::vector<double> shifted_variances(const NormWeights& norm, const std::vector<float>& mix) {
  std::vector<double> variances(norm.weight.size());
  for (std::size_t i = 0; i < variances.size(); ++i) {
    const double weight = static_cast<double>(norm.weight[i]);
    const double now = static_cast<double>(mix[i]);
    variances[i] = weight * weight * (now * now + (1 - now) * (1 - now));
  }
  return variances;
}

std::vector<double> shifted_sizes(const NormWeights& norm, const std::vector<float>& mix) {
  std::vector<double> sizes = shifted_variances(norm, mix);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const double bias = static_cast<double>(norm.bias[i]);
    sizes[i] = std::sqrt(sizes[i] + bias * bias);
  }
  return sizes;
}

}  // namespace

int InputScales::phase_of(const Matrix& matrix) const {
  if (!wanted_) return 0;
  const bool is_value = std::any_of(weights_.layers.begin(), weights_.layers.end(),
                                    [&](const Layer& layer) { return &layer.feed_forward.value == &matrix; });
  return is_value ? 2 : 1;
}

void InputScales::from_vectors() {
  if (!wanted_) return;
  for (Layer& layer : weights_.layers) {
    Layer::Attention& att = layer.attention;
    att.receptance.input_scales = scales_for(att.receptance.precision, shifted_sizes(layer.ln1, att.mix_r));
    att.key.input_scales = scales_for(att.key.precision, shifted_sizes(layer.ln1, att.mix_k));
    att.value.input_scales = scales_for(att.value.precision, shifted_sizes(layer.ln1, att.mix_v));
    att.gate.input_scales = scales_for(att.gate.precision, shifted_sizes(layer.ln1, att.mix_g));
    att.output.input_scales = scales_for(att.output.precision, norm_sizes(att.ln_x));
    Layer::FeedForward& ffn = layer.feed_forward;
    ffn.key.input_scales = scales_for(ffn.key.precision, shifted_sizes(layer.ln2, ffn.mix_k));
    ffn.receptance.input_scales = scales_for(ffn.receptance.precision, shifted_sizes(layer.ln2, ffn.mix_r));

    Hidden& hidden = hidden_[&ffn.key];
    hidden.variances = shifted_variances(layer.ln2, ffn.mix_k);
    hidden.means.assign(layer.ln2.bias.begin(), layer.ln2.bias.end());
  }
  weights_.head.input_scales = scales_for(weights_.head.precision, norm_sizes(weights_.ln_out));
}

TensorLoader::RowVisitor InputScales::visitor(const Matrix& matrix) {
  if (!wanted_) return {};
  const bool is_key = std::any_of(weights_.layers.begin(), weights_.layers.end(),
                                  [&](const Layer& layer) { return &layer.feed_forward.key == &matrix; });
  if (!is_key) return {};
  Hidden& hidden = hidden_[&matrix];
  hidden.sizes.resize(static_cast<std::size_t>(matrix.rows));
  return [&hidden](std::int64_t row, std::span<const float> numbers) {
    double variance = 0;
    double mean = 0;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const double weight = static_cast<double>(numbers[i]);
      variance += weight * weight * hidden.variances[i];
      mean += weight * hidden.means[i];
    }
    hidden.sizes[static_cast<std::size_t>(row)] = variance + mean * mean;
  };
}

void InputScales::from_keys() {
  for (Layer& layer : weights_.layers) {
    if (wanted_)
      layer.feed_forward.value.input_scales =
          scales_for(layer.feed_forward.value.precision, hidden_[&layer.feed_forward.key].sizes);
  }
}

}  // namespace wkv::rwkv5
