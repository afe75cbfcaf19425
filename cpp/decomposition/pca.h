// Principal components: the directions v_1, v_2, ... of unit length, each orthogonal to those
// before it, that maximise the variance of X v. Eigenvectors of the covariance, by the fold Gram (n
// d^2 / 2 + 9 d^3), or by a triangular factor and its SVD where small variances must keep all
// digits; where n < d by the rows' inner products or their factor. Source: Pearson 1901; Golub, Van
// Loan, Matrix Computations, ch. 8. Each component's entry of largest size is positive.
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

struct PrincipalComponents {
  Eigen::VectorXd mean;        // (d,)
  Eigen::VectorXd variance;    // (k,) descending, with divisor n - 1
  Eigen::MatrixXd components;  // (k, d) rows
  double total_variance = 0;   // of all components
  // False where squares lost so much that the factor would find the smallest variance better.
  bool reliable = true;

  PrincipalComponents head(int64_t count) const {
    return {mean, variance.head(count), components.topRows(count), total_variance, reliable};
  }
};

// The `counts[b]` leading components (0: all min(n, d)) of the rows splits[b] trains on.
std::vector<PrincipalComponents> pca_cpu(const FoldGram& gram, const std::vector<int64_t>& splits,
                                         const std::vector<int64_t>& counts,
                                         const Context& context);
std::vector<PrincipalComponents> pca_cpu(const FoldQR& qr, const std::vector<int64_t>& splits,
                                         const std::vector<int64_t>& counts,
                                         const Context& context);
// RowForm: RowGram or RowQR, for fewer rows than columns; X as it was made from.
template <class RowForm, class T>
std::vector<PrincipalComponents> pca_cpu(const RowForm& form, MatrixView<const T> X,
                                         const Folds& folds, const std::vector<int64_t>& splits,
                                         const std::vector<int64_t>& counts,
                                         const Context& context);

}  // namespace manyfit
