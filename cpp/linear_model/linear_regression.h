// Ordinary least squares for a population of jobs: over the rows i a split trains on, the
// coefficients of least norm among those that minimise, for each target k,
//   sum_i w[i] (y[i, k] - x_i . c - c0)^2.
// Also the rank and singular values of the centred (if an intercept is fitted), weighted training
// data. From the fold Gram: d^3 / 3 (Cholesky) and the eigenvalues; where that would lose digits or
// X has not full rank, from the triangular factor by its SVD.
#pragma once

#include "linear_model/ridge.h"

namespace manyfit {

struct LeastSquaresPopulation : LinearPopulation {
  std::vector<int64_t> rank;              // [b]
  std::vector<Eigen::VectorXd> singular;  // [b] (min(rows, d),) descending

  explicit LeastSquaresPopulation(size_t jobs)
      : LinearPopulation(jobs), rank(jobs), singular(jobs) {}
};

// relative_cutoff: singular values at most this share of the largest count as zero.
LeastSquaresPopulation linear_regression_cpu(const FoldGram& gram,
                                             const std::vector<LinearJob>& jobs,
                                             double relative_cutoff, const Context& context);
LeastSquaresPopulation linear_regression_cpu(const FoldQR& qr, const std::vector<LinearJob>& jobs,
                                             double relative_cutoff, const Context& context);
// RowForm: RowGram or RowQR, for fewer rows than columns.
template <class RowForm, class T>
LeastSquaresPopulation linear_regression_cpu(const RowForm& form, MatrixView<const T> X,
                                             MatrixView<const T> Y, VectorView<const T> w,
                                             const Folds& folds, const std::vector<LinearJob>& jobs,
                                             double relative_cutoff, const Context& context);

}  // namespace manyfit
