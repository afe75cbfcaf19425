// Lasso and elastic net for a population of jobs (coordinate_descent.h) on a device, from its fold
// Gram. The jobs of a path are a chain that one warp walks down, each job started from the one
// before; long paths of wide data are cut into several chains, which begin at zero.
#pragma once

#include <cstdint>
#include <vector>

#include "core/device.h"
#include "core/device_folds.h"
#include "core/fold_gram_cuda.h"
#include "linear_model/coef_cuda.h"

namespace manyfit {

// The most features whose coefficients a warp holds in registers; wider data are the CPU's, and so
// are coordinates in random order.
inline constexpr int64_t kWidestDescentCuda = 512;

// As LinearJob and DescentSettings.
struct DescentCudaJob {
  int64_t split = 0;
  bool fit_intercept = true;
  double alpha = 1;
  double l1_ratio = 1;
  double tol = 1e-4;
  int64_t max_iter = 1000;
  bool positive = false;
  bool exact = true;
};

// As DescentPopulation.
struct DescentCudaPopulation {
  DeviceCoef coef;                                        // (jobs, t, d)
  std::vector<double> intercept;                          // (jobs, t)
  std::vector<uint8_t> reliable;                          // (jobs,)
  std::vector<double> gap, tolerance, sweeps, converged;  // (jobs, t)
};

// start: (jobs, t, d), or empty for the path's own.
DescentCudaPopulation coordinate_descent_cuda(const DeviceGram& gram, const DeviceFolds& folds,
                                              const std::vector<DescentCudaJob>& jobs,
                                              const std::vector<double>& start,
                                              const Context& context);

}  // namespace manyfit
