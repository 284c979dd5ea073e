#pragma once

#include "backend/cuda/api.h"

namespace wkv::cuda {

// Kernels alone: they copy their input to the thread's device, and their results back. Throw Failed.
void run_wkv5(const WkvCudaWkv5& wkv);
void run_gemm(const WkvCudaGemm& gemm);

}  // namespace wkv::cuda
