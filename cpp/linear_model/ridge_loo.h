// Leave-one-out errors of ridge regression, for many penalties at once and without a second fit.
// Where a model is fitted to all training rows of a split, the residual that row i would have, had
// it been left out, is
//   e_i / (1 - h_i),   h_i = w_i (1 / W + sum_j z_ij^2 / (s_j^2 + alpha)),
// e_i the row's residual in the fit of all rows, z_i = V' (x_i - mean), s_j and V the singular
// values and right vectors of the centred, weighted rows, W the sum of the weights; without an
// intercept mean = 0 and there is no 1 / W. V, s and the coefficients come from a prepared form,
// the rows are read once more: tiles of rows times V, squares times 1 / (s^2 + alpha) for all
// penalties in one product. O(n d (d + a t)) for a penalties and t targets; kept are sums alone,
// unless residuals are asked for. A row that a split takes c times counts as c rows, of which one
// is left out.
//
// Fewer rows than columns: with G = A A' + alpha, A the centred weighted rows, and y weighted
// alike,
//   sqrt(w_i) e_i / (1 - h_i) = (G^-1 y)_i / (G^-1)_ii
// in the space of what is orthogonal to sqrt(w), by one eigendecomposition of A A'. O(n^3 + n^2 a
// t). Source: Rifkin, Lippert: Notes on regularized least squares (2007); Golub, Heath, Wahba 1979.
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

struct LeaveOneOutJob {
  int64_t split = 0;  // of the prepared form's folds
  bool fit_intercept = true;
  std::vector<double> alpha;    // all > 0
  bool keep_residuals = false;  // of every row that the split trains on
};

struct LeaveOneOut {
  using Residuals = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  Eigen::MatrixXd squares;  // (a, t) sums of w (residual when left out)^2 over the training rows
  Residuals residuals;      // (n, t a) penalties side by side for each target; empty if not kept
  // False where the prepared form was too ill-conditioned, or a row has so much leverage that
  // 1 - h_i is nothing but rounding.
  bool reliable = true;
};

// Form: FoldGram or FoldQR; X, Y and w as it was made from.
template <class Form, class T>
std::vector<LeaveOneOut> ridge_loo_cpu(const Form& form, MatrixView<const T> X,
                                       MatrixView<const T> Y, VectorView<const T> w,
                                       const std::vector<LeaveOneOutJob>& jobs,
                                       const Context& context);

// Form: RowGram or RowQR.
template <class Form, class T>
std::vector<LeaveOneOut> ridge_loo_cpu(const Form& form, MatrixView<const T> Y,
                                       VectorView<const T> w, const Folds& folds,
                                       const std::vector<LeaveOneOutJob>& jobs,
                                       const Context& context);

}  // namespace manyfit
