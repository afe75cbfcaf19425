// Multi-task lasso and elastic net for a population of jobs: the targets choose columns together.
// Job b minimises over the rows i its split trains on
//   1/2 sum_i w[i] |y[i] - C' x[i] - c0|^2
//     + W alpha (l1_ratio sum_j |C_j| + (1 - l1_ratio) / 2 |C|^2),      C (d, t), C_j its row j,
// W = sum_i w[i] and c0 = 0 where the job fits no intercept. It ends where the duality gap is at
// most tol * sum_i w[i] |y[i]|^2 (y centred), as Lasso does, and shares what Lasso shares: paths of
// descending alphas, and the Gram, from which a sweep costs d t per row of C that moves, or a
// working set of columns where d is large (coordinate_descent.h).
//
// `exact` goes on by Newton steps on the rows that are not zero. Their Hessian, Gram x I plus the
// curvature of |C_j|, is a Gram of the support with a larger diagonal, x I, less a matrix of the
// rank of the support: a step costs two factorisations of the size of the support, for any t.
//
// Source: Simon, Friedman, Hastie 2013 (blocks); Ndiaye, Fercoq, Gramfort, Salmon 2017 (the gap and
// screening); the Newton step by the identity of Woodbury.
#pragma once

#include <Eigen/Core>
#include <vector>

#include "linear_model/coordinate_descent.h"

namespace manyfit {

// settings[b].positive must be false. What the population says of a fit (gap, tolerance, sweeps,
// converged) is of shape (jobs, 1). start: (d, t) for each job, or empty for the path's own.
DescentPopulation multi_task_elastic_net_cpu(const FoldGram& gram,
                                             const std::vector<LinearJob>& jobs,
                                             const std::vector<DescentSettings>& settings,
                                             const std::vector<Eigen::MatrixXd>& start,
                                             const Context& context);

template <class T>
DescentPopulation multi_task_elastic_net_cpu(MatrixView<const T> X, MatrixView<const T> Y,
                                             VectorView<const T> w, const Folds& folds,
                                             const std::vector<LinearJob>& jobs,
                                             const std::vector<DescentSettings>& settings,
                                             const std::vector<Eigen::MatrixXd>& start,
                                             const Context& context);

}  // namespace manyfit
