// The leading singular values and right singular vectors of the rows X a split trains on, as they
// are, not centred: the k directions whose projections keep most of |X|^2. Eigenvectors of X'X, by
// the fold Gram (n d^2 / 2 + 9 d^3), or by a triangular factor and its SVD where squares would lose
// digits of the smallest value asked for; where n < d by the rows' inner products or their factor.
// Source: Eckart, Young 1936; Golub, Van Loan, Matrix Computations, ch. 8. Each component's entry
// of largest size is positive.
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

struct TruncatedSvd {
  Eigen::VectorXd values;      // (k,) singular values, descending
  Eigen::MatrixXd components;  // (k, d) rows
  Eigen::VectorXd variance;    // (k,) of the rows along each component, with divisor n
  double total_variance = 0;   // of all columns of X
  // Of squared singular values, largest to smallest: beyond it the squares have lost digits.
  double limit = 0;

  bool reliable() const;
  TruncatedSvd head(int64_t count) const {
    return {values.head(count), components.topRows(count), variance.head(count), total_variance,
            limit};
  }
};

// The `counts[b]` leading triplets (at most min(n, d)) of the rows splits[b] trains on.
std::vector<TruncatedSvd> truncated_svd_cpu(const FoldGram& gram,
                                            const std::vector<int64_t>& splits,
                                            const std::vector<int64_t>& counts,
                                            const Context& context);
std::vector<TruncatedSvd> truncated_svd_cpu(const FoldQR& qr, const std::vector<int64_t>& splits,
                                            const std::vector<int64_t>& counts,
                                            const Context& context);
// RowForm: RowGram or RowQR, for fewer rows than columns; X as it was made from.
template <class RowForm, class T>
std::vector<TruncatedSvd> truncated_svd_cpu(const RowForm& form, MatrixView<const T> X,
                                            const Folds& folds, const std::vector<int64_t>& splits,
                                            const std::vector<int64_t>& counts,
                                            const Context& context);

}  // namespace manyfit
