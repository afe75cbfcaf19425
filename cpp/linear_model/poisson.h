// Poisson regression with logarithmic link and l2 penalty:
//   minimise  sum_i w_i (exp(m_i) - y_i m_i) / sum_i w_i  +  alpha |c|^2 / 2,   m_i = x_i' c + c0.
// X (n, d); y (n,) >= 0; w (n,) or empty. Newton's method (iteratively reweighted least squares)
// with step halving; jobs still running share a pass over X (tile_pass.h): n d^2 / 2 multiply-adds
// a job and pass, d^3 / 3 a step. Source: McCullagh, Nelder: Generalized Linear Models, ch. 2.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/folds.h"
#include "core/views.h"
#include "linear_model/newton.h"

namespace manyfit {

struct PoissonJob {
  int64_t split = 0;
  bool fit_intercept = true;
  double alpha = 0;
  double tolerance = 0;  // of the gradient's largest entry, about provisional means of the columns
  int64_t max_iter = 100;
  Eigen::VectorXd start;  // (d + 1,) coefficients, then the intercept; empty for none
};

struct PoissonModel {
  Eigen::VectorXd coef;  // (d,)
  double intercept = 0;
  int64_t n_iter = 0;
  NewtonStatus status = NewtonStatus::failed;
};

template <class T>
std::vector<PoissonModel> poisson_cpu(MatrixView<const T> X, VectorView<const T> y,
                                      VectorView<const T> w, const Folds& folds,
                                      const std::vector<PoissonJob>& jobs, const Context& context);

}  // namespace manyfit
