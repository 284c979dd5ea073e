#pragma once

#include <functional>
#include <memory>

#include "backend/cuda/api.h"
#include "engine/network.h"

namespace wkv {

// Tokens of one step: enough of a prompt to keep a large GPU at work.
constexpr std::int32_t kMaxTokensOnCuda = 512;

// Throws ERR_WKV_DEVICE unless the device can be used and has room for the weights, and ERR_WKV_UNSUPPORTED
// for weights that are to be neither in int8 nor in int4: before anything is read.
void require_cuda(const ModelInfo& info, const WkvCudaApi& api, int device);

// Throws ERR_WKV_UNSUPPORTED for another precision.
void require_quantized(Precision precision);

// Writes the state of a session that has seen nothing.
using InitialState = std::function<void(const ModelInfo& info, float* state)>;

// The network of a model whose weights are all on a GPU (engine/cuda_upload.h).
std::shared_ptr<const Network> make_cuda_network(ModelInfo info, std::shared_ptr<WkvCudaModel> model,
                                                 InitialState initial, const WkvCudaApi& api);

}  // namespace wkv
