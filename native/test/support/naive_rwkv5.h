#pragma once

// RWKV-5.2 in plain double arithmetic, one token at a time, from the equations of arXiv 2404.05892.

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "test/support/model_file.h"

namespace wkv::test {

class NaiveRwkv5 {
 public:
  using Vector = std::vector<double>;

  NaiveRwkv5(const Tensors& tensors, const Dimensions& dimensions, double group_norm_epsilon = 64e-5)
      : tensors_(tensors), d_(dimensions), group_norm_epsilon_(group_norm_epsilon) {
    const auto layers = static_cast<std::size_t>(d_.layers);
    att_x.assign(layers, Vector(static_cast<std::size_t>(d_.embedding)));
    ffn_x = att_x;
    wkv.assign(layers, Vector(static_cast<std::size_t>(d_.heads * d_.head_size * d_.head_size)));
  }

  // The state, by layer; wkv is [head][key][value].
  std::vector<Vector> att_x, ffn_x, wkv;

  // The logits after one more token.
  Vector step(std::uint32_t token) {
    const Vector embeddings = get("emb.weight");
    const auto begin = embeddings.begin() + static_cast<std::ptrdiff_t>(token) * d_.embedding;
    Vector x = layer_norm({begin, begin + d_.embedding}, "blocks.0.ln0", 1e-5);
    for (std::size_t layer = 0; layer < att_x.size(); ++layer) {
      const std::string block = "blocks." + std::to_string(layer) + ".";
      add(x, time_mixing(block + "att.", layer_norm(x, block + "ln1", 1e-5), layer));
      add(x, channel_mixing(block + "ffn.", layer_norm(x, block + "ln2", 1e-5), layer));
    }
    return product("head.weight", layer_norm(x, "ln_out", 1e-5));
  }

 private:
  Vector get(const std::string& name) const {
    const std::vector<float>& values = tensors_.at(name).values;
    return {values.begin(), values.end()};
  }

  static void add(Vector& x, const Vector& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }
  static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

  Vector product(const std::string& name, const Vector& x) const {
    const Vector matrix = get(name);
    Vector y(matrix.size() / x.size());
    for (std::size_t row = 0; row < y.size(); ++row) {
      for (std::size_t i = 0; i < x.size(); ++i) y[row] += matrix[row * x.size() + i] * x[i];
    }
    return y;
  }

  // Normalizes groups of `group` numbers; one group unless said otherwise.
  Vector layer_norm(Vector x, const std::string& name, double epsilon, std::size_t group = 0) const {
    const Vector weight = get(name + ".weight");
    const Vector bias = get(name + ".bias");
    if (group == 0) group = x.size();
    for (std::size_t begin = 0; begin < x.size(); begin += group) {
      double mean = 0;
      double variance = 0;
      for (std::size_t i = begin; i < begin + group; ++i) mean += x[i] / static_cast<double>(group);
      for (std::size_t i = begin; i < begin + group; ++i) {
        variance += (x[i] - mean) * (x[i] - mean) / static_cast<double>(group);
      }
      for (std::size_t i = begin; i < begin + group; ++i) {
        x[i] = (x[i] - mean) / std::sqrt(variance + epsilon) * weight[i] + bias[i];
      }
    }
    return x;
  }

  Vector mixed(const std::string& name, const Vector& x, const Vector& previous) const {
    const Vector mix = get(name);
    Vector y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * mix[i] + previous[i] * (1 - mix[i]);
    return y;
  }

  Vector time_mixing(const std::string& att, const Vector& x, std::size_t layer) {
    const Vector r = product(att + "receptance.weight", mixed(att + "time_mix_r", x, att_x[layer]));
    const Vector k = product(att + "key.weight", mixed(att + "time_mix_k", x, att_x[layer]));
    const Vector v = product(att + "value.weight", mixed(att + "time_mix_v", x, att_x[layer]));
    const Vector g = product(att + "gate.weight", mixed(att + "time_mix_g", x, att_x[layer]));
    att_x[layer] = x;
    const Vector decay = get(att + "time_decay");
    const Vector bonus = get(att + "time_faaaa");
    const auto n = static_cast<std::size_t>(d_.head_size);
    Vector y(r.size());
    for (std::size_t channel = 0; channel < r.size(); ++channel) {
      const std::size_t head = channel / n;
      for (std::size_t j = 0; j < n; ++j) {
        double& s = wkv[layer][(head * n + channel % n) * n + j];
        const double kv = k[channel] * v[head * n + j];
        y[head * n + j] += r[channel] * (s + bonus[channel] * kv);
        s = std::exp(-std::exp(decay[channel])) * s + kv;
      }
    }
    y = layer_norm(y, att + "ln_x", group_norm_epsilon_, n);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] *= g[i] * sigmoid(g[i]);
    return product(att + "output.weight", y);
  }

  Vector channel_mixing(const std::string& ffn, const Vector& x, std::size_t layer) {
    Vector k = product(ffn + "key.weight", mixed(ffn + "time_mix_k", x, ffn_x[layer]));
    const Vector r = product(ffn + "receptance.weight", mixed(ffn + "time_mix_r", x, ffn_x[layer]));
    ffn_x[layer] = x;
    for (double& value : k) value = value > 0 ? value * value : 0;
    Vector y = product(ffn + "value.weight", k);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] *= sigmoid(r[i]);
    return y;
  }

  const Tensors& tensors_;
  Dimensions d_;
  double group_norm_epsilon_;
};

}  // namespace wkv::test
