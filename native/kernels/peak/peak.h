#pragma once

// The most arithmetic that a processor can do: products and sums from registers, in as many independent
// chains as hide an instruction's latency. The ceiling beside which benchmarks put products of matrices.

namespace wkv {

// Does `turns` rounds of products and sums. Returns how many operations those were, two for each product with
// its sum; 0 where no ceiling is known.
using Peak = double (*)(int turns);

}  // namespace wkv
