// Batch gradient descent for a population of jobs, as textbooks have it: every step goes down the
// gradient of the loss over all rows i that a job's split trains on,
//   squared error   L = sum_i w[i] (z[i] - y[i])^2 / W,
//   log loss        L = sum_i w[i] (log sum_k exp z[i, k] - z[i, y[i]]) / W,   W = sum_i w[i],
// z = X c' + c0 with one output for squared error and for two classes (then the other class has z =
// 0), and K outputs for K > 2 classes:
//   v <- momentum v - learning_rate grad L,   (c, c0) <- (c, c0) + v.
//
// X (n, d). O(n d K) per step and job. All jobs still running share every pass over tiles of X:
// their outputs and their gradients are one matrix product each. Source: Cauchy 1847; Polyak 1964
// (momentum).
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/folds.h"
#include "core/views.h"

namespace manyfit {

using RowMatrixXd = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct GradientJob {
  int64_t split = 0;
  double learning_rate = 0.1;
  double momentum = 0;
  double tol = 1e-6;  // stops where |grad L| <= tol max(1, |grad L| at the start)
  int64_t max_iter = 1000;
  bool fit_intercept = true;
  bool trace = true;
  RowMatrixXd coef;           // (K, d) to start from
  Eigen::VectorXd intercept;  // (K,)
};

enum class Descent { converged, exhausted, diverged };

// What a job leaves; coef and intercept are the last whose loss was finite.
struct GradientFit {
  RowMatrixXd coef;           // (K, d)
  Eigen::VectorXd intercept;  // (K,)
  int64_t steps = 0;
  Descent end = Descent::exhausted;
  // At the start and after each step, as far as all were finite; coefficients only if asked for.
  std::vector<double> loss, gradient_norm;
  std::vector<double> coefs;       // (steps + 1, K, d)
  std::vector<double> intercepts;  // (steps + 1, K)
};

// A job has diverged once its loss exceeds the larger of the loss at the start and the loss of
// predicting zero by this factor.
inline constexpr double kGrownWithoutBound = 1e6;

// Squared error: `y` (n,). Log loss: `codes` (n,) in [0, classes), classes >= 2.
template <class T>
std::vector<GradientFit> gradient_descent_cpu(MatrixView<const T> X, VectorView<const T> y,
                                              VectorView<const int64_t> codes, int64_t classes,
                                              VectorView<const T> w, const Folds& folds,
                                              const std::vector<GradientJob>& jobs,
                                              const Context& context);

}  // namespace manyfit
