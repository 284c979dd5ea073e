#include "kernels/gemm_int4/cuda.h"

#include "kernels/gemm_int4/cuda_weights.cuh"
#include "kernels/gemm_int8/cuda_launch.cuh"

namespace wkv::cuda {

void gemm_int4(const QuantizedProducts& arguments, cudaStream_t stream) {
  GemmLaunch all{arguments, {}};
  static_assert(sizeof(FewShared<Int4Weights, 1, 6>) <= kMaxSharedBytes);
  if (arguments.tokens <= kTileTokens) {
    launch_few<Int4Weights, 1, 6>(all, stream);
  } else if (arguments.tokens <= 2 * kTileTokens) {
    launch_few<Int4Weights, 2, 4>(all, stream);
  } else if (suits_many<Int4Weights>(all) &&
             keep_busy(place_blocks(all, 64) * ceil_div(arguments.tokens, 64), 7)) {
    // Tiles of 128 rows would not have registers for two blocks on a processor.
    launch_many<Int4Weights, 2, 4, 2, 6, 2>(all, stream);
  } else {
    launch_few_of_four<Int4Weights>(all, stream);
  }
}

}  // namespace wkv::cuda
