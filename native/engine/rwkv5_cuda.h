#pragma once

#include <memory>

#include "backend/cuda/api.h"
#include "engine/network.h"
#include "engine/rwkv5_weights.h"

namespace wkv {

// Throws ERR_WKV_DEVICE unless the device can be used and has room for the weights, and ERR_WKV_UNSUPPORTED
// for other versions than 5.2 and weights that are not to be in int8: before anything is read.
void require_cuda(const ModelInfo& info, const WkvCudaApi& api, int device);

// The model on a GPU: copies the weights there, in int8. Nothing of `weights` is needed afterwards.
// Throws ERR_WKV_DEVICE, or ERR_WKV_UNSUPPORTED for weights that are kept in something else.
std::shared_ptr<const Network> make_cuda_network(ModelInfo info, const rwkv5::Weights& weights,
                                                 float group_norm_epsilon, const WkvCudaApi& api, int device);

}  // namespace wkv
