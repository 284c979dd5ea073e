#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/quantize/quantize.h"

namespace wkv::reference {

namespace {

int code_of(double weight, double step) {
  return static_cast<int>(std::clamp(std::nearbyint(weight / step), -8.0, 7.0));
}

// The code of the scale at or below `scale`.
int scale_code(float scale) {
  int code = 0;
  while (code < 255 && int4_scale(code + 1) <= scale) ++code;
  return code;
}

}  // namespace

unsigned char quantize_int4(const QuantizeInt4Arguments& a) {
  const auto magnitude = [&](int i) { return std::fabs(a.weights[i]); };
  float largest = 0;
  for (int i = 0; i < a.size; ++i) largest = std::max(largest, magnitude(i));
  const float reaching = largest / (8.0F * 127.0F);
  const int smallest = scale_code(reaching * 0.78F);
  int best_scale = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int code = scale_code(reaching * 1.14F); code >= smallest; code -= 2) {
    const float scale = int4_scale(code);
    std::array<int, kMaxInt4Group / kGroupStep> indices = {};
    double total = 0;
    for (int begin = 0; begin < a.size; begin += kGroupStep) {
      const int end = std::min(begin + kGroupStep, a.size);
      int extreme = begin;
      for (int i = begin; i < end; ++i) {
        if (magnitude(i) > magnitude(extreme)) extreme = i;
      }
      const float enough = magnitude(extreme) * 0.75F / (8.0F * scale);
      int first = 0;
      while (first < 7 && static_cast<float>(int4_multiplier(first)) < enough) ++first;
      double of_block = std::numeric_limits<double>::infinity();
      for (int index = first; index < std::min(first + 4, 8); ++index) {
        const int candidate = a.weights[extreme] > 0 ? index + 8 : index;
        const double step = int4_multiplier(candidate) * static_cast<double>(scale);
        double error = 0;
        for (int i = begin; i < end; ++i) {
          const double off =
              static_cast<double>(a.weights[i]) - code_of(static_cast<double>(a.weights[i]), step) * step;
          error += static_cast<double>(a.importance[i]) * off * off;
        }
        if (error < of_block) {
          of_block = error;
          indices[static_cast<std::size_t>(begin / kGroupStep)] = candidate;
        }
      }
      total += of_block;
    }
    if (total < least) {
      least = total;
      best_scale = code;
      for (int block = 0; block * kGroupStep < a.size; ++block) {
        a.indices[block] = static_cast<unsigned char>(indices[static_cast<std::size_t>(block)]);
      }
    }
  }
  for (int i = 0; i < a.size; ++i) {
    const double step =
        int4_multiplier(a.indices[i / kGroupStep]) * static_cast<double>(int4_scale(best_scale));
    a.codes[i] = static_cast<unsigned char>(code_of(static_cast<double>(a.weights[i]), step) + 8);
  }
  return static_cast<unsigned char>(best_scale);
}

}  // namespace wkv::reference
