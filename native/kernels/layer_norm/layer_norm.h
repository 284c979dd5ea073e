#pragma once

namespace wkv {

// Layer norm over `size` floats: output = (x - mean) / sqrt(variance + epsilon) * weight + bias, the variance
// biased (divided by size). A group norm is a layer norm of each group. `output` may be `x`.
using LayerNorm = void (*)(const float* x, const float* weight, const float* bias, float epsilon, int size,
                           float* output);

namespace reference {
void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, int size,
                float* output);
}

}  // namespace wkv
