#pragma once

#include "kernels/peak/peak.h"

namespace wkv {

// Operations per second that so many threads do together. The best of some rounds counts, because what else
// the machine does meanwhile only takes away. About 30 ms; 0 where no ceiling is known.
double measure_peak(Peak peak, unsigned threads);

}  // namespace wkv
