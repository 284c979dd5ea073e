#pragma once

namespace wkv {

// RWKV's token shift: output = current * mix + previous * (1 - mix), over `size` channels. `previous` is the
// same channel one token earlier.
using TokenShift = void (*)(const float* current, const float* previous, const float* mix, int size,
                            float* output);

namespace reference {
void token_shift(const float* current, const float* previous, const float* mix, int size, float* output);
}

}  // namespace wkv
