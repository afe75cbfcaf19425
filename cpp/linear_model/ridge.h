// Ridge regression for a population of jobs. Job b minimises, for each target k over the rows i its
// split trains on,
//   sum_i w[i] (y[i, k] - x_i . c - c0)^2 + alpha[b, k] |c|^2,
// c0 = 0 where the job fits no intercept. alpha = 0 gives the minimum-norm least-squares solution.
//
// Jobs of one split share its Gram (or factor), and from kShareFrom penalties on one
// eigendecomposition: each further penalty costs d^2. Source: Hoerl, Kennard 1970; Golub, Heath,
// Wahba 1979 (the shared decomposition).
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "core/fold_gram.h"
#include "core/fold_qr.h"
#include "core/row_gram.h"
#include "core/row_qr.h"
#include "core/views.h"

namespace manyfit {

struct LinearJob {
  int64_t split = 0;  // of the prepared form's folds
  bool fit_intercept = true;
};

// What a population of linear models leaves; b counts jobs.
struct LinearPopulation {
  std::vector<Eigen::MatrixXd> coef;       // [b] (d, t)
  std::vector<Eigen::VectorXd> intercept;  // [b] (t,)
  // False where the prepared form was too ill-conditioned to answer as well as a QR of the rows
  // would: such a job is to be done again from the factor.
  std::vector<uint8_t> reliable;

  explicit LinearPopulation(size_t jobs) : coef(jobs), intercept(jobs), reliable(jobs, 1) {}

  // No answer for job b.
  void abandon(size_t b, int64_t features, int64_t targets) {
    coef[b].setZero(features, targets);
    intercept[b].setZero(targets);
    reliable[b] = 0;
  }
};

// alpha (jobs, targets).
LinearPopulation ridge_cpu(const FoldGram& gram, const std::vector<LinearJob>& jobs,
                           const Eigen::MatrixXd& alpha, const Context& context);
LinearPopulation ridge_cpu(const FoldQR& qr, const std::vector<LinearJob>& jobs,
                           const Eigen::MatrixXd& alpha, const Context& context);

// The dual, for fewer rows than columns: c = A' a, a = (A A' + alpha)^-1 y. RowForm: RowGram or
// RowQR; X and Y as it was made from.
template <class RowForm, class T>
LinearPopulation ridge_cpu(const RowForm& form, MatrixView<const T> X, MatrixView<const T> Y,
                           VectorView<const T> w, const Folds& folds,
                           const std::vector<LinearJob>& jobs, const Eigen::MatrixXd& alpha,
                           const Context& context);

}  // namespace manyfit
