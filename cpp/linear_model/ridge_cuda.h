// Ridge regression for a population of jobs (ridge.h) on a device, from its fold Gram.
#pragma once

#include <cstdint>
#include <vector>

#include "core/device.h"
#include "core/device_folds.h"
#include "core/fold_gram_cuda.h"
#include "linear_model/coef_cuda.h"

namespace manyfit {

struct RidgeCudaPopulation {
  DeviceCoef coef;                // (jobs, t, d)
  std::vector<double> intercept;  // (jobs, t)
  std::vector<uint8_t> reliable;  // (jobs,) as LinearPopulation's
};

// The most features whose systems a block of this device can solve; wider ones are the CPU's.
int64_t widest_ridge_cuda(const Device& device);

// splits (jobs,), fit_intercept (jobs,), alpha (jobs, t).
RidgeCudaPopulation ridge_cuda(const DeviceGram& gram, const DeviceFolds& folds,
                               const std::vector<int64_t>& splits,
                               const std::vector<uint8_t>& fit_intercept,
                               const std::vector<double>& alpha, const Context& context);

}  // namespace manyfit
