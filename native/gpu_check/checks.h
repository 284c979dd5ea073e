#pragma once

#include <string>
#include <vector>

#include "gpu_check/library.h"
#include "gpu_check/report.h"

namespace wkv::gpu_check {

// Which number is the first that differs, or "".
std::string difference(const std::vector<float>& actual, const std::vector<float>& expected);

// Every instruction on random operands: equal bit by bit.
void check_instructions(const Library& tested, const Library& simulated, bool small, Report& report);

// Kernels alone, of the forms that there are: equal bit by bit.
void check_kernels(const Library& tested, const Library& simulated, Report& report);

// A whole model, prompts and single tokens of several sessions, on both: equal bit by bit.
void check_model(const Library& tested, const Library& simulated, const WkvCudaShape& shape,
                 const std::string& name, Report& report, int bits = 8);

// A session beside others has the bits that it has alone, and so have the others, who have the same tokens.
void check_batches(const Library& tested, const WkvCudaShape& shape, const std::string& name, Report& report,
                   int bits = 8);

// A prompt at once leaves the bits that it leaves in small pieces.
void check_pieces(const Library& tested, const WkvCudaShape& shape, const std::string& name, Report& report,
                  int bits = 8);

}  // namespace wkv::gpu_check
