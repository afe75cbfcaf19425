// Huber regression with a scale of its own and l2 penalty:
//   minimise  F(c, c0, sigma) = sum_i w_i (sigma + sigma H((y_i - x_i' c - c0) / sigma)) + alpha
//   |c|^2, sigma >= kLeastScale,  H(z) = z^2 for |z| <= epsilon, 2 epsilon |z| - epsilon^2 beyond.
// X (n, d); y (n,); w (n,) or empty; epsilon >= 1. F is convex in all variables together. Newton's
// method in (c, c0) with the best sigma for each: the matrix of second derivatives is the Gram of
// the inliers, less what following sigma takes back. Jobs still running share the passes over X
// (tile_pass.h): a step costs one for the Gram, n d^2 / 2 multiply-adds a job, and one for the
// change of the residuals, 2 n d, on which the step's length is then searched exactly
// (huber_line.h).
//
// The nearer epsilon is to 1, the smaller is sigma, down to zero, where F is least absolute
// deviations and few rows are inliers. So sigma has a lower bound at first, and where the answer
// lies on it the bound is lowered; the first step from there keeps the inliers of the last, along
// which the solution is linear in sigma.
// Sources: Huber, Ronchetti: Robust Statistics, ch. 7; Madsen, Nielsen, A finite smoothing
// algorithm for linear l1 estimation, SIAM J. Optimization 3 (1993).
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/context.h"
#include "core/folds.h"
#include "core/views.h"
#include "linear_model/newton.h"

namespace manyfit {

inline constexpr double kLeastScale = 10 * std::numeric_limits<double>::epsilon();

struct HuberJob {
  int64_t split = 0;
  bool fit_intercept = true;
  double epsilon = 1.35;
  double alpha = 1e-4;
  double tolerance =
      1e-5;  // of the gradient's largest entry, about provisional means of the columns
  int64_t max_iter = 100;
  Eigen::VectorXd start;  // (d + 2,) coefficients, intercept, sigma; empty for none
};

struct HuberModel {
  Eigen::VectorXd coef;  // (d,)
  double intercept = 0;
  double scale = 0;
  int64_t n_iter = 0;
  NewtonStatus status = NewtonStatus::failed;
};

template <class T>
std::vector<HuberModel> huber_cpu(MatrixView<const T> X, VectorView<const T> y,
                                  VectorView<const T> w, const Folds& folds,
                                  const std::vector<HuberJob>& jobs, const Context& context);

}  // namespace manyfit
