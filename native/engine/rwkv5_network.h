#pragma once

#include <memory>

#include "engine/network.h"
#include "engine/rwkv5_weights.h"

namespace wkv::rwkv5 {

std::shared_ptr<const Network> make_network(ModelInfo info, Weights weights, float group_norm_epsilon);

}  // namespace wkv::rwkv5
