// Lasso and elastic net for a population of jobs. Job b minimises, for each target over the rows i
// its split trains on,
//   1/2 sum_i w[i] (y[i] - x_i . c - c0)^2 + W alpha (l1_ratio |c|_1 + (1 - l1_ratio) / 2 |c|^2),
// W = sum_i w[i] and c0 = 0 where the job fits no intercept. It ends where the duality gap is at
// most tol * sum_i w[i] y[i]^2 (y centred), which bounds how far the objective is from its minimum.
//
// Jobs of one split and l1_ratio are a path: descending alphas, each started from the one before.
// From the fold Gram a sweep costs d per coordinate that moves, and no row is read. Where d is
// large, or the Gram would lose digits, the columns are read instead: a working set of columns
// whose own Gram is kept, and one pass over X for each time it grows. Where sweeps settle slowly,
// Newton steps on the support, signs kept, come between them: s^3 / 3 for s coefficients.
//
// Source: Friedman, Hastie, Tibshirani 2010 (coordinate descent on the Gram); Fercoq, Gramfort,
// Salmon 2015 (the gap and screening); Massias, Gramfort, Salmon 2018 (working sets); Osborne,
// Presnell, Turlach 2000 (steps on the support that stop at a change of sign).
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/fold_gram.h"
#include "core/views.h"
#include "linear_model/ridge.h"

namespace manyfit {

struct DescentSettings {
  double alpha = 1;
  double l1_ratio = 1;
  double tol = 1e-4;
  int64_t max_iter = 1000;  // sweeps
  bool positive = false;
  bool random = false;  // coordinates in random order
  uint64_t seed = 0;
  // Whether to go on from the tolerance to the minimum itself, by Newton steps on the support: then
  // a path and separate fits agree to rounding.
  bool exact = true;
};

struct DescentPopulation : LinearPopulation {
  Eigen::MatrixXd gap;        // (jobs, targets), divided by W
  Eigen::MatrixXd tolerance;  // (jobs, targets), divided by W
  Eigen::MatrixXd sweeps;     // (jobs, targets)
  Eigen::MatrixXd converged;  // (jobs, targets), 1 or 0

  DescentPopulation(size_t jobs, int64_t targets);
};

// start: a coefficient matrix (d, t) for each job, or empty for the path's own.
DescentPopulation coordinate_descent_cpu(const FoldGram& gram, const std::vector<LinearJob>& jobs,
                                         const std::vector<DescentSettings>& settings,
                                         const std::vector<Eigen::MatrixXd>& start,
                                         const Context& context);

// From the columns. A job whose working set grows beyond kLargestWorkingSet is not reliable.
inline constexpr int64_t kLargestWorkingSet = 4096;
template <class T>
DescentPopulation coordinate_descent_cpu(MatrixView<const T> X, MatrixView<const T> Y,
                                         VectorView<const T> w, const Folds& folds,
                                         const std::vector<LinearJob>& jobs,
                                         const std::vector<DescentSettings>& settings,
                                         const std::vector<Eigen::MatrixXd>& start,
                                         const Context& context);

}  // namespace manyfit
