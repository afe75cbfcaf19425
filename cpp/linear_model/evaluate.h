// Squared errors of fitted linear models on left-out rows, as quadratic forms of the rows' moments:
// no pass over X.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "linear_model/ridge.h"

namespace manyfit {

struct SquaredErrors {
  Eigen::MatrixXd
      residual;           // (jobs, t) sum w (y - prediction)^2 over the rows a job's split tests on
  Eigen::MatrixXd total;  // (jobs, t) sum w (y - mean y)^2
};

SquaredErrors squared_errors_cpu(const FoldGram& gram, const std::vector<LinearJob>& jobs,
                                 const std::vector<Eigen::MatrixXd>& coef,
                                 const std::vector<Eigen::VectorXd>& intercept,
                                 const Context& context);

}  // namespace manyfit
