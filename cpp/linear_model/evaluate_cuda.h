// Squared errors of fitted linear models on left-out rows (evaluate.h) on a device, from its fold
// Gram and coefficients that lie there.
#pragma once

#include <cstdint>
#include <vector>

#include "core/device.h"
#include "core/device_folds.h"
#include "core/fold_gram_cuda.h"

namespace manyfit {

// As SquaredErrors; not numbers where the left-out rows weigh nothing.
struct SquaredErrorsCuda {
  std::vector<double> residual, total;                    // (jobs, t)
  std::vector<double> residual_rounding, total_rounding;  // (jobs, t)
  std::vector<double> weight;                             // (jobs,)
};

// splits (jobs,); coef (jobs, t, d) in the memory of the device; intercept (jobs, t).
SquaredErrorsCuda squared_errors_cuda(const DeviceGram& gram, const DeviceFolds& folds,
                                      const std::vector<int64_t>& splits, const double* coef,
                                      const std::vector<double>& intercept, const Context& context);

}  // namespace manyfit
