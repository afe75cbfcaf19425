// Ridge or least squares with non-negative coefficients, for a population of jobs: minimises
//   sum_i w[i] (y[i, k] - x_i . c - c0)^2 + alpha[b, k] |c|^2   over c >= 0,
// on the fold Gram, by an active set that adds the coordinate of steepest descent and solves the
// free ones exactly. About one Cholesky of the free set for each change. Source: Lawson, Hanson
// 1974, ch. 23; Bro, de Jong 1997.
#pragma once

#include "linear_model/ridge.h"

namespace manyfit {

// A job is not reliable where a free set was too ill-conditioned or the iteration did not end.
LinearPopulation nonnegative_cpu(const FoldGram& gram, const std::vector<LinearJob>& jobs,
                                 const Eigen::MatrixXd& alpha, const Context& context);

}  // namespace manyfit
