#pragma once

namespace wkv {

// relu_squared: x = max(x, 0)^2;   sigmoid, tanh: x = that of x
using Elementwise = void (*)(float* x, int size);

// multiply_silu: x = x * (gate * sigmoid(gate));   add: x = x + y;   multiply: x = x * y
using Elementwise2 = void (*)(float* x, const float* y, int size);

// add_gated: x = x + sigmoid(gate) * y;   move_towards: x = x + sigmoid(gate) * (y - x)
using Elementwise3 = void (*)(float* x, const float* gate, const float* y, int size);

// log(sum of e^x[i]), for log-probabilities: log p[i] = x[i] - log_sum_exp(x).
using LogSumExp = float (*)(const float* x, int size);

namespace reference {
void relu_squared(float* x, int size);
void sigmoid(float* x, int size);
void tanh(float* x, int size);
void multiply_silu(float* x, const float* gate, int size);
void add(float* x, const float* y, int size);
void multiply(float* x, const float* y, int size);
void add_gated(float* x, const float* gate, const float* y, int size);
void move_towards(float* x, const float* gate, const float* y, int size);
float log_sum_exp(const float* x, int size);
}  // namespace reference

}  // namespace wkv
