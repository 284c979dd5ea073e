#pragma once

#include <functional>
#include <string>
#include <vector>

#include "gpu_check/ceilings.h"
#include "gpu_check/library.h"
#include "gpu_check/random_model.h"
#include "gpu_check/report.h"

namespace wkv::gpu_check {

double median(std::vector<double> values);

// The median of steps over about a second, after a third of a second in which the GPU's clock gets up to
// speed.
double median_seconds(const std::function<void()>& step);

// All 0 where the library cannot measure them.
WkvCeilings measure_ceilings(const Library& tested, Report& report);

// How many tokens a second so many sessions can have together, if only memory limits them; 0 where ceilings
// are.
double tokens_at_most(const RandomModel& model, const WkvCeilings& ceilings, int sessions,
                      WkvCudaLogits logits);

// Sessions, logits, drawn tokens and prompts of a model with random weights of so many bits.
void measure_model(const Library& tested, const WkvCudaShape& shape, const std::string& name,
                   const WkvCeilings& ceilings, Report& report, int bits = 8);

}  // namespace wkv::gpu_check
