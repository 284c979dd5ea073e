/* The RWKV-5.2 recurrence and its gradient, for training on a CPU.
 *
 * Per batch row and head, with i the key index and j the value index:
 *     y[t][j]   = sum_i r[t][i] * (S[t][i][j] + u[i] * k[t][i] * v[t][j])
 *     S[t+1][i][j] = w[i] * S[t][i][j] + k[t][i] * v[t][j]
 *
 * r, k, v, y and their gradients are [batch][tokens][heads][N]; w, u are [heads][N];
 * states are [batch][heads][N][N]. Everything is float.
 *
 * cc -O3 -march=native -ffast-math -fopenmp -shared -fPIC wkv5_kernel.c -o wkv5_kernel.so
 */
#include <string.h>

#define N 64 /* the head size */

/* s0 may be NULL (a state of zeros), s1 may be NULL (the final state is not wanted). */
void wkv5_forward(long batch, long tokens, long heads, const float* r, const float* k, const float* v,
                  const float* w, const float* u, const float* s0, float* y, float* s1) {
#pragma omp parallel for schedule(static)
  for (long bh = 0; bh < batch * heads; bh++) {
    const long b = bh / heads, h = bh % heads;
    const float *wh = w + h * N, *uh = u + h * N;
    float S[N][N] __attribute__((aligned(64)));
    if (s0)
      memcpy(S, s0 + bh * N * N, sizeof S);
    else
      memset(S, 0, sizeof S);
    for (long t = 0; t < tokens; t++) {
      const long at = ((b * tokens + t) * heads + h) * N;
      float vt[N] __attribute__((aligned(64))), acc[N] __attribute__((aligned(64)));
      memcpy(vt, v + at, sizeof vt);
      memset(acc, 0, sizeof acc);
      for (int i = 0; i < N; i++) {
        const float ri = r[at + i], ki = k[at + i], wi = wh[i], ruk = ri * uh[i] * ki;
        for (int j = 0; j < N; j++) {
          acc[j] += ri * S[i][j] + ruk * vt[j];
          S[i][j] = wi * S[i][j] + ki * vt[j];
        }
      }
      memcpy(y + at, acc, sizeof acc);
    }
    if (s1) memcpy(s1 + bh * N * N, S, sizeof S);
  }
}

/* Gradients for a run that began with a state of zeros. gw and gu are per batch row: [batch][heads][N]. */
void wkv5_backward(long batch, long tokens, long heads, const float* r, const float* k, const float* v,
                   const float* w, const float* u, const float* gy, float* gr, float* gk, float* gv,
                   float* gw, float* gu) {
#pragma omp parallel for schedule(static)
  for (long bh = 0; bh < batch * heads; bh++) {
    const long b = bh / heads, h = bh % heads;
    const float *wh = w + h * N, *uh = u + h * N;
    float S[N][N] __attribute__((aligned(64))); /* the state, then the gradient of the state */
    float D[N][N] __attribute__((aligned(64))); /* dS/dw */
    float dw[N] = {0}, du[N] = {0};
    memset(S, 0, sizeof S);
    memset(D, 0, sizeof D);
    for (long t = 0; t < tokens; t++) { /* forwards in time: gr, gw, gu */
      const long at = ((b * tokens + t) * heads + h) * N;
      float vt[N] __attribute__((aligned(64))), gt[N] __attribute__((aligned(64)));
      memcpy(vt, v + at, sizeof vt);
      memcpy(gt, gy + at, sizeof gt);
      float gv_dot = 0;
      for (int j = 0; j < N; j++) gv_dot += gt[j] * vt[j];
      for (int i = 0; i < N; i++) {
        const float ri = r[at + i], ki = k[at + i], wi = wh[i];
        float gs = 0, gd = 0;
        for (int j = 0; j < N; j++) {
          const float s = S[i][j], d = D[i][j];
          gs += gt[j] * s;
          gd += gt[j] * d;
          D[i][j] = wi * d + s;
          S[i][j] = wi * s + ki * vt[j];
        }
        gr[at + i] = gs + uh[i] * ki * gv_dot;
        dw[i] += ri * gd;
        du[i] += ri * ki * gv_dot;
      }
    }
    memset(S, 0, sizeof S);
    for (long t = tokens - 1; t >= 0; t--) { /* backwards in time: gk, gv */
      const long at = ((b * tokens + t) * heads + h) * N;
      float vt[N] __attribute__((aligned(64))), gt[N] __attribute__((aligned(64)));
      float acc[N] __attribute__((aligned(64)));
      memcpy(vt, v + at, sizeof vt);
      memcpy(gt, gy + at, sizeof gt);
      memset(acc, 0, sizeof acc);
      float gv_dot = 0;
      for (int j = 0; j < N; j++) gv_dot += gt[j] * vt[j];
      for (int i = 0; i < N; i++) {
        const float ri = r[at + i], ki = k[at + i], wi = wh[i], ruk = ri * uh[i] * ki;
        float gs = 0;
        for (int j = 0; j < N; j++) {
          const float s = S[i][j];
          gs += s * vt[j];
          acc[j] += s * ki + ruk * gt[j];
          S[i][j] = wi * s + ri * gt[j];
        }
        gk[at + i] = gs + uh[i] * ri * gv_dot;
      }
      memcpy(gv + at, acc, sizeof acc);
    }
    memcpy(gw + bh * N, dw, sizeof dw);
    memcpy(gu + bh * N, du, sizeof du);
  }
}
