#pragma once

namespace wkv {

// Layer norm over `size` floats: output = (x - mean) / sqrt(variance + epsilon) * weight + bias, the variance
// biased (divided by size). A group norm is a layer norm of each group. `output` may be `x`.
//
// Both sums, of x and of the squared distances from the mean (by fma), are taken in the same order, on every
// instruction set and on GPUs. Lane l of kNormLanes adds x[l], x[l + 1024], x[l + 2048] ... to 0, one after
// another; 32 neighbouring lanes are summed as a tree, (l, l + 16), (l, l + 8), (l, l + 4), (l, l + 2),
// (l, l + 1), and their 32 sums likewise, 0 where there are no numbers.
constexpr int kNormLanes = 1024;
// Of layer norms, in all published models; group norms have one that models differ in.
constexpr float kLayerNormEpsilon = 1e-5F;
using LayerNorm = void (*)(const float* x, const float* weight, const float* bias, float epsilon, int size,
                           float* output);

namespace reference {
void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, int size,
                float* output);
}

}  // namespace wkv
