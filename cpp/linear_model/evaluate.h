// Squared errors of fitted linear models on left-out rows, as quadratic forms of the rows' moments:
// no pass over X.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "linear_model/ridge.h"

namespace manyfit {

struct SquaredErrors {
  // (jobs, t), of the rows a job's split tests on
  Eigen::MatrixXd residual;  // sum w (y - prediction)^2
  Eigen::MatrixXd total;     // sum w (y - mean y)^2
  // How much of these may be rounding: a good fit leaves little of terms that are large.
  Eigen::MatrixXd residual_rounding, total_rounding;
  Eigen::VectorXd weight;  // (jobs,) sum w
};

SquaredErrors squared_errors_cpu(const FoldGram& gram, const std::vector<LinearJob>& jobs,
                                 const std::vector<Eigen::MatrixXd>& coef,
                                 const std::vector<Eigen::VectorXd>& intercept,
                                 const Context& context);

}  // namespace manyfit
