#pragma once

// exp, sigmoid and tanh on the GPU, operation by operation those of exp.inl.h and activations.inl.h, with the
// same bits.

#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

WKV_DEVICE float exponential(float x) {
  x = x < -87.0F ? -87.0F : x;
  x = x > 88.0F ? 88.0F : x;
  const float shift = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = fused(x, 1.44269504F, shift);
  const float n = shifted - shift;
  float r = fused(n, -0.693359375F, x);
  r = fused(n, 2.12194440e-4F, r);
  float p = 1.0F / 5040.0F;
  p = fused(p, r, 1.0F / 720.0F);
  p = fused(p, r, 1.0F / 120.0F);
  p = fused(p, r, 1.0F / 24.0F);
  p = fused(p, r, 1.0F / 6.0F);
  p = fused(p, r, 0.5F);
  p = fused(p, r, 1.0F);
  p = fused(p, r, 1.0F);
  return p * float_of((bits_of(shifted) << 23U) + 0x3f800000U);  // NaN stays NaN
}

WKV_DEVICE float sigmoid(float x) { return 1.0F / (1.0F + exponential(-x)); }

// 1 - e^-x for x >= 0.
WKV_DEVICE float one_minus_exp(float x) {
  const float z = 0.5F < x ? 0.5F : x;  // NaN stays
  float p = 1.0F / 362880.0F;
  p = fused(p, z, -1.0F / 40320.0F);
  p = fused(p, z, 1.0F / 5040.0F);
  p = fused(p, z, -1.0F / 720.0F);
  p = fused(p, z, 1.0F / 120.0F);
  p = fused(p, z, -1.0F / 24.0F);
  p = fused(p, z, 1.0F / 6.0F);
  p = fused(p, z, -0.5F);
  p = fused(p, z, 1.0F);
  const float rest = exponential(z - x);
  return fused(p * z, rest, 1.0F - rest);
}

WKV_DEVICE float positive_part(float x) { return 0.0F > x ? 0.0F : x; }  // NaN stays

WKV_DEVICE float tanh(float x) {
  const float above = one_minus_exp(2.0F * positive_part(x));
  const float below = one_minus_exp(2.0F * positive_part(0.0F - x));
  return above / (2.0F - above) - below / (2.0F - below);
}

}  // namespace wkv::cuda
