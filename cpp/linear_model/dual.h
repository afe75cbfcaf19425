// A split's targets and the linear systems of the dual: coefficients A' a for A the centred,
// weighted rows (core/row_split.h) and a (m, t).
#pragma once

#include <Eigen/Core>
#include <cstdint>

#include "core/context.h"
#include "core/folds.h"
#include "core/row_split.h"
#include "core/views.h"

namespace manyfit {

class DualData {
 public:
  template <class T>
  DualData(MatrixView<const T> Y, VectorView<const T> w, const Folds& folds, int64_t split,
           bool centred);

  // a with (A A' + alpha[k]) a_k = target_k, by one Cholesky for each run of equal penalties. False
  // where the system is too ill-conditioned.
  bool solve(const Eigen::MatrixXd& products, const Eigen::VectorXd& alpha, double limit,
             const Context& context, Eigen::MatrixXd& a) const;
  // The same from the spectrum of A; where alpha is 0 the solution of least norm, for which values
  // at most the cutoff count as zero. False where squares cannot tell which those are, too.
  bool solve(const RowSpectrum& spectrum, const Eigen::VectorXd& alpha, double cutoff,
             Eigen::MatrixXd& a) const;

  Eigen::VectorXd intercept(const Eigen::MatrixXd& coef, const Eigen::VectorXd& mean) const;

  RowSplit rows;

 private:
  Eigen::MatrixXd target_;       // (m, t)
  Eigen::VectorXd target_mean_;  // (t,)
};

}  // namespace manyfit
