#pragma once

#include <span>
#include <string_view>

#include "kernels/kernel_table.h"

namespace wkv {

// The kernel tables that this processor can run, best first; the last is always the portable one.
std::span<const KernelTable* const> available_kernels();

// The table to use: the best one, or the one that the environment variable WKV_ISA names ("avx512vnni",
// "avx512", "avxvnni", "avx2", "i8mm", "dotprod", "neon", "portable") when the process first asks. A name
// that is unknown here, or that the processor cannot run, is answered by the best one; see selection_note().
const KernelTable& selected_kernels();

// Why WKV_ISA was not followed; empty when it was, or is not set.
std::string_view selection_note();

}  // namespace wkv
