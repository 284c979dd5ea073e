#pragma once

#include "backend/cuda/failure.h"

namespace wkv::cuda {

int count_devices();
WkvCudaDevice describe_device(int device);

// Makes the device the calling thread's. Throws Failed if it is not there, or the library has no code for it.
void use_device(int device);

}  // namespace wkv::cuda
